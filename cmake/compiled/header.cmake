# Writes the header that tells units what a merganser::compiled was compiled for.
#   cmake -DOBJECT=<object of name.cpp> -DHEADER=<file> -P header.cmake
cmake_minimum_required(VERSION 3.24)

file(STRINGS ${OBJECT} found REGEX "merganser_compiled_for=[A-Za-z0-9_]+!" LIMIT_COUNT 1)
if(NOT found)
  message(FATAL_ERROR "merganser::compiled: ${OBJECT} does not say what it was compiled for")
endif()
string(REGEX REPLACE "^.*merganser_compiled_for=([A-Za-z0-9_]+)!.*$" "\\1" name "${found}")
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#define MERGANSER_COMPILED_FOR_${name} 0,1\n" @ONLY)
