# Fails when a header has more than 300 lines.
#   cmake -DROOT=<project> -P header_lengths.cmake
cmake_minimum_required(VERSION 3.24)

set(longest 300)
set(faults "")
file(GLOB_RECURSE headers ${ROOT}/include/merganser/*.hpp)
foreach(header IN LISTS headers)
  file(READ ${header} text)
  string(REGEX REPLACE "[^\n]" "" lines "${text}")
  string(LENGTH "${lines}" count)
  if(count GREATER longest)
    file(RELATIVE_PATH name ${ROOT}/include/merganser ${header})
    string(APPEND faults "  ${name}: ${count} lines, more than ${longest}: it holds two things\n")
  endif()
endforeach()
if(faults)
  message(FATAL_ERROR "\n${faults}")
endif()
