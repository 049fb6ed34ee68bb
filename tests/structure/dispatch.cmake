# Builds the project in dispatch/, one of whose units is compiled for several instruction sets, and runs it at each level.
#   cmake -DROOT= -DSCRATCH= -DGENERATOR= -DCOMPILER= -DNM= [-DQEMU=qemu-x86_64] -P dispatch.cmake
cmake_minimum_required(VERSION 3.24)
file(REMOVE_RECURSE ${SCRATCH})
function(build generator)
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/dispatch -B ${SCRATCH} -G ${generator}
                          -DCMAKE_CXX_COMPILER=${COMPILER} -DMERGANSER_ROOT=${ROOT} "-DLEVELS=${ARGN}"
                  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${SCRATCH} COMMAND_ERROR_IS_FATAL ANY)
endfunction()
build(${GENERATOR} base v3 v4 v3-plus=-march=x86-64-v3\ -mmovbe)

# Runs the program, on a processor of qemu if `cpu` is not "native", and compares what it says.
function(expect cpu level pattern)
  set(command ${SCRATCH}/dispatch)
  if(NOT cpu STREQUAL "native")
    set(command ${QEMU} -cpu ${cpu} ${command})
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} -E env MERGANSER_LEVEL=${level} ${command}
                  OUTPUT_VARIABLE said ERROR_VARIABLE error)
  if(NOT "${said}${error}" MATCHES "${pattern}")
    message(FATAL_ERROR "on ${cpu}, MERGANSER_LEVEL=${level}: got ${said}${error}, expected ${pattern}")
  endif()
endfunction()

# Nothing but the entry points leaves a level.
file(GLOB objects ${SCRATCH}/dispatch_levels/*.o)
foreach(object IN LISTS objects)
  cmake_path(GET object STEM id)
  execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${object}
                  OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE " [^\n]*" "" symbols "${symbols}")
  string(STRIP "${symbols}" symbols)
  string(REPLACE "\n" ";" symbols "${symbols}")
  list(SORT symbols)
  set(expected dispatch_needs_${id} fail_with_${id} level_in_use_${id} sum_of_softmax_${id})
  if(id STREQUAL "levels")
    set(expected fail_with level_in_use sum_of_softmax)
  endif()
  if(NOT symbols STREQUAL expected)
    message(FATAL_ERROR "${id}.o has global symbols ${symbols}, expected ${expected}")
  endif()
endforeach()
list(LENGTH objects count)
if(NOT count EQUAL 5)
  message(FATAL_ERROR "got ${count} linked objects, expected those of four levels and of the choice: ${objects}")
endif()

expect(native "" "^merganser::x86_")
expect(native base "^merganser::x86_sse2\n")
expect(native v9 "MERGANSER_LEVEL: level: got v9, expected one of base, v3, v4, v3-plus\n")
if(QEMU)
  expect(Nehalem "" "^merganser::x86_sse2\n|\nmerganser::x86_sse2\n")
  expect(Nehalem v4 "got v4, expected one that this processor has \\(missing: .*avx512f")
  expect(Haswell "" "merganser::x86_avx2_fma_f16c\n")
  expect(Haswell base "merganser::x86_sse2\n")
endif()
file(REMOVE_RECURSE ${SCRATCH})

# Make sees fewer dependencies than ninja.
find_program(MAKE make)
if(MAKE AND NOT GENERATOR MATCHES "Makefiles")
  build("Unix Makefiles" base v3)
  expect(native base "^merganser::x86_sse2\n")
  file(REMOVE_RECURSE ${SCRATCH})
endif()
