# What merganser needs: find_package first, download by pinned hash only on request, and otherwise the name of the
# Debian package that is missing.
#
#   merganser_find(<name>)   the dependency, or a configure error
#   merganser_try(<name>)    the dependency if it is there

include(FetchContent)

set(merganser_target_Eigen3 Eigen3::Eigen)
set(merganser_package_Eigen3 libeigen3-dev)
set(merganser_fetch_Eigen3
    https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
    8586084f71f9bde545ee7fa6d00288b264a2b7ac3607b974e54d13e7162c1c72 .)

set(merganser_target_nlohmann_json nlohmann_json::nlohmann_json)
set(merganser_package_nlohmann_json nlohmann-json3-dev)
set(merganser_fetch_nlohmann_json
    https://github.com/nlohmann/json/archive/refs/tags/v3.11.2.tar.gz
    d69f9deb6a75e2580465c6c4c5111b89c4dc2fa94e3a85fcd2ffcd9a143d9273 single_include)

set(merganser_target_CLI11 CLI11::CLI11)
set(merganser_package_CLI11 libcli11-dev)
set(merganser_fetch_CLI11
    https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.1.2.tar.gz
    26291377e892ba0e5b4972cdfd4a2ab3bf53af8dac1f4ea8fe0d1376b625c8cb include)

set(merganser_target_Catch2 Catch2::Catch2WithMain)
set(merganser_package_Catch2 catch2)
set(merganser_fetch_Catch2
    https://github.com/catchorg/Catch2/archive/refs/tags/v2.13.10.tar.gz
    d54a712b7b1d7708bc7a819a8e6e47b2fde9536f487b89ccbca295072a7d9943)

set(merganser_target_benchmark benchmark::benchmark)
set(merganser_package_benchmark libbenchmark-dev)
set(merganser_fetch_benchmark
    https://github.com/google/benchmark/archive/refs/tags/v1.7.1.tar.gz
    6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7)

set(merganser_target_OpenMP OpenMP::OpenMP_CXX)

set(merganser_target_Threads Threads::Threads)
set(merganser_package_Threads libc6-dev)

# Downloads a dependency. One that is only headers becomes an imported target over its include folder; the others bring
# their own CMake project.
function(merganser_fetch name)
  list(POP_FRONT merganser_fetch_${name} url hash include_folder)
  string(TOLOWER ${name} folder)
  if(include_folder)
    set(build_nothing SOURCE_SUBDIR no-cmake-project)
  endif()
  set(BUILD_TESTING OFF)
  set(CATCH_BUILD_STATIC_LIBRARY ON)
  set(BENCHMARK_ENABLE_TESTING OFF)
  set(BENCHMARK_ENABLE_INSTALL OFF)
  FetchContent_Declare(${name} URL ${url} URL_HASH SHA256=${hash} DOWNLOAD_EXTRACT_TIMESTAMP ON ${build_nothing})
  FetchContent_MakeAvailable(${name})
  if(include_folder)
    add_library(${merganser_target_${name}} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${merganser_target_${name}} INTERFACE ${${folder}_SOURCE_DIR}/${include_folder})
  endif()
endfunction()

# Any version of Eigen from 3.4 on, also 5: so it is looked up without one and checked afterwards.
function(merganser_check_eigen_version version)
  if(version AND version VERSION_LESS 3.4)
    message(FATAL_ERROR "merganser needs Eigen 3.4 or newer, found ${version}")
  endif()
endfunction()

function(merganser_try name)
  set(target ${merganser_target_${name}})
  if(TARGET ${target})
    return()
  endif()
  find_package(${name} QUIET GLOBAL)
  if(name STREQUAL "Eigen3")
    merganser_check_eigen_version("${Eigen3_VERSION}")
  endif()
  if(NOT TARGET ${target} AND MERGANSER_FETCH_DEPENDENCIES AND DEFINED merganser_fetch_${name})
    merganser_fetch(${name})
  endif()
endfunction()

function(merganser_find name)
  merganser_try(${name})
  if(NOT TARGET ${merganser_target_${name}})
    message(FATAL_ERROR "merganser: ${name} was not found. Install it (Debian: apt-get install "
                        "${merganser_package_${name}}) or configure with -DMERGANSER_FETCH_DEPENDENCIES=ON.")
  endif()
endfunction()
