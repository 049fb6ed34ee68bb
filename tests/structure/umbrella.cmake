# Fails when merganser.hpp is not the sorted list of every header but those of io and runs.
#   cmake -DROOT=<project> -P umbrella.cmake
cmake_minimum_required(VERSION 3.24)

set(umbrella ${ROOT}/include/merganser/merganser.hpp)
file(STRINGS ${umbrella} found REGEX "^#include <")
list(TRANSFORM found REPLACE "^#include <(.*)>$" "\\1")

file(GLOB_RECURSE expected RELATIVE ${ROOT}/include ${ROOT}/include/merganser/*.hpp)
list(REMOVE_ITEM expected merganser/merganser.hpp)
list(FILTER expected EXCLUDE REGEX "^merganser/(io|runs)/")
list(SORT expected)

set(missing ${expected})
list(REMOVE_ITEM missing ${found})
set(unknown ${found})
list(REMOVE_ITEM unknown ${expected})
if(missing OR unknown)
  message(FATAL_ERROR "merganser.hpp: missing: [${missing}], not a header it should include: [${unknown}]")
endif()
if(NOT found STREQUAL expected)
  message(FATAL_ERROR "merganser.hpp: the includes are not sorted or not unique")
endif()
