# Builds and runs the project in compiled/, whose units link merganser::compiled.
#   cmake -DROOT= -DSCRATCH= -DGENERATOR= -DCOMPILER= -DGOLDEN_DIR= -P compiled.cmake
cmake_minimum_required(VERSION 3.24)

file(REMOVE_RECURSE ${SCRATCH})
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/compiled -B ${SCRATCH}/build -G ${GENERATOR}
          -DCMAKE_CXX_COMPILER=${COMPILER} -DMERGANSER_ROOT=${ROOT} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${SCRATCH}/build COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${SCRATCH}/build --target other_compiled_name COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} -E env MERGANSER_LEVEL=base
                        ${SCRATCH}/build/compiled ${GOLDEN_DIR}/mrt5_soft_hard ${SCRATCH}/saved COMMAND_ERROR_IS_FATAL ANY)

# A unit that links it has none of the instantiations; one for another instruction set has its own.
find_program(nm nm REQUIRED)
foreach(unit IN ITEMS linked other)
  file(GLOB_RECURSE object ${SCRATCH}/build/CMakeFiles/*/${unit}.cpp.o)
  if(object)
    execute_process(COMMAND ${nm} -C ${object} OUTPUT_VARIABLE ${unit}_symbols COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()
set(encode "merganser::[a-z0-9_]+::models::EncoderDecoder<float>::encode\\(")
if(NOT linked_symbols MATCHES " U ${encode}")
  message(FATAL_ERROR "a unit that links merganser::compiled should look for EncoderDecoder<float>::encode in it")
endif()
if(DEFINED other_symbols AND NOT other_symbols MATCHES " [WVu] ${encode}")
  message(FATAL_ERROR "a unit for another instruction set should make its own EncoderDecoder<float>::encode")
endif()
file(REMOVE_RECURSE ${SCRATCH})
