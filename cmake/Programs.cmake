# How our own tests, benchmarks and examples are compiled: two private interface targets. Neither reaches users.
include(CheckCXXCompilerFlag)

# Two false alarms of g++ 12: its own AVX-512 intrinsics are uninitialized (GCC bug 105593), and std::string + "text"
# overlaps itself or is longer than memory (GCC bug 105651).
add_library(merganser_warnings INTERFACE)
target_compile_options(merganser_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-maybe-uninitialized -Wno-uninitialized -Wno-restrict -Wno-stringop-overflow>
  $<$<BOOL:${MERGANSER_WARNINGS_AS_ERRORS}>:-Werror>)

# merganser with warnings, the machine's own instructions and, where asked for, OpenMP. Debug builds are optimised a
# little, because programs on Eigen are fifty times slower without; but not where a target has MERGANSER_UNOPTIMISED,
# because it computes so little that compiling would take longer.
add_library(merganser_program INTERFACE)
target_compile_options(merganser_program INTERFACE
  $<$<AND:$<CONFIG:Debug>,$<NOT:$<BOOL:$<TARGET_PROPERTY:MERGANSER_UNOPTIMISED>>>>:-O1>)
target_link_libraries(merganser_program INTERFACE merganser merganser_warnings)
if(MERGANSER_OPENMP AND TARGET merganser_openmp)
  target_link_libraries(merganser_program INTERFACE merganser_openmp)
endif()

# byte_demo and the benches run at full speed on any processor: their units are compiled for each of these levels
# (cmake/Dispatch.cmake), or for this machine's processor alone.
set(merganser_levels ${MERGANSER_LEVELS})
if(MERGANSER_NATIVE)
  check_cxx_compiler_flag(-march=native MERGANSER_HAS_MARCH_NATIVE)
  if(MERGANSER_HAS_MARCH_NATIVE)
    target_compile_options(merganser_program INTERFACE -march=native)
    set(merganser_levels base)
  endif()
endif()

# The usual instantiations, for programs that link this: those of merganser::compiled, for each of the levels.
if((MERGANSER_BUILD_BENCH OR MERGANSER_BUILD_EXAMPLES) AND TARGET merganser_io)
  merganser_compiled_units(merganser_units)
  merganser_add_dispatched_parts(compiled_work ${merganser_units} ISAS ${merganser_levels})
  target_link_libraries(compiled_work INTERFACE merganser_program merganser_io)
  target_compile_definitions(compiled_work INTERFACE MERGANSER_COMPILED=1)
endif()

# OpenMP threads that wait for work sleep: ctest runs several programs at once.
set(merganser_test_environment OMP_WAIT_POLICY=passive)
