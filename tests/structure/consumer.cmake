# Builds and runs the project in consumer/ against an installed merganser or with merganser's tree inside it.
#   cmake -DWAY=find_package|find_package_absolute|add_subdirectory -DROOT= -DBUILD= -DVERSION= -DSCRATCH= -DGENERATOR= -DCOMPILER=
#         -DWITH_IO=0|1 -DWITH_OPENMP=0|1 -P consumer.cmake
cmake_minimum_required(VERSION 3.24)
include(${CMAKE_CURRENT_LIST_DIR}/expect_error.cmake)

file(REMOVE_RECURSE ${SCRATCH})

set(where -DMERGANSER_ROOT=${ROOT})
if(WAY STREQUAL "find_package")
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${SCRATCH}/prefix
                  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  set(where -DCMAKE_PREFIX_PATH=${SCRATCH}/prefix)
endif()

# As distributions with a folder for each part configure it.
if(WAY STREQUAL "find_package_absolute")
  # Outside of the source tree, in which CMake takes no folder of an installed package.
  execute_process(COMMAND mktemp -d OUTPUT_VARIABLE SCRATCH OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -S ${ROOT} -B ${SCRATCH}/merganser -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER}
            -DCMAKE_INSTALL_PREFIX=${SCRATCH}/prefix -DCMAKE_INSTALL_INCLUDEDIR=${SCRATCH}/headers/include
            -DCMAKE_INSTALL_DATADIR=${SCRATCH}/package/share -DMERGANSER_BUILD_TESTS=OFF -DMERGANSER_BUILD_BENCH=OFF
            -DMERGANSER_BUILD_EXAMPLES=OFF -DMERGANSER_VERIFY_HEADERS=OFF OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${SCRATCH}/merganser OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  set(where -Dmerganser_DIR=${SCRATCH}/package/share/cmake/merganser)
endif()

execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${SCRATCH}/build -G ${GENERATOR}
          -DCMAKE_CXX_COMPILER=${COMPILER} -DMERGANSER_EXPECTED_VERSION=${VERSION} -DWITH_IO=${WITH_IO}
          -DWITH_OPENMP=${WITH_OPENMP} ${where}
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${SCRATCH}/build COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${SCRATCH}/build/consumer COMMAND_ERROR_IS_FATAL ANY)

# What a component lacks is said.
function(refuse component reason)
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${SCRATCH}/build
                          -DCOMPONENTS=${component} -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON
                  OUTPUT_QUIET ERROR_VARIABLE error RESULT_VARIABLE failed)
  expect_error("COMPONENTS ${component}" "${failed}" "${error}" "${reason}")
endfunction()
if(WAY STREQUAL "find_package")
  refuse(io "merganser::io needs nlohmann_json \\(Debian: nlohmann-json3-dev\\)")
  refuse(compiled "merganser::compiled needs nlohmann_json \\(Debian: nlohmann-json3-dev\\)")
  refuse(gpu "merganser has the components io, compiled and openmp, not gpu")
endif()
file(REMOVE_RECURSE ${SCRATCH})
