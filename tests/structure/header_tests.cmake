# Fails when a header has no test file of its own: include/merganser/<room>/<header>.hpp needs
# tests/<room>/<header>_test.cpp.
#   cmake -DROOT=<project> -P header_tests.cmake
cmake_minimum_required(VERSION 3.24)

set(faults "")
file(GLOB_RECURSE headers RELATIVE ${ROOT}/include/merganser ${ROOT}/include/merganser/*.hpp)
foreach(header IN LISTS headers)
  if(NOT header MATCHES "/")
    continue()  # merganser.hpp, version.hpp
  endif()
  string(REGEX REPLACE "\\.hpp$" "_test.cpp" test ${header})
  if(NOT EXISTS ${ROOT}/tests/${test})
    string(APPEND faults "  ${header}: tests/${test} is missing\n")
  endif()
endforeach()
if(faults)
  message(FATAL_ERROR "\n${faults}")
endif()
