# merganser::compiled: the usual instantiations, compiled once in the tree of whoever links it, so that units which load a
# model, run, train or save it compile in seconds. Nothing of it is built until something links it.
#
#   target_link_libraries(program PRIVATE merganser::compiled)
#
# It is compiled with the flags of the project (CMAKE_CXX_FLAGS, those of the configuration, and the options of the
# directory that makes the target). A unit with others, for another instruction set, makes its own instantiations, as if
# it did not link the library. For units with options of their own, such as -march=native:
#
#   merganser_add_compiled(NAME [options...])    a static library NAME; what links it gets the options, too
#
# What is in it: models::EncoderDecoder, its Encoder and Decoder, SequenceClassifier, generate, beam_search, io::load_model,
# load_for_inference and save_model, training::Trainer of an EncoderDecoder; all in float.

set(merganser_compiled_folder ${CMAKE_CURRENT_LIST_DIR}/compiled)
set(merganser_compiled_units "")
foreach(unit IN ITEMS models classifier generation model_directory trainer)
  list(APPEND merganser_compiled_units ${merganser_compiled_folder}/${unit}.cpp)
endforeach()

# Sets OUT to the namespace of the library under the flags of the project and some options; empty if it is not to be found.
function(merganser_compiled_name OUT)
  get_directory_property(directory_options COMPILE_OPTIONS)
  list(FILTER directory_options EXCLUDE REGEX "\\$<")
  get_target_property(include_folders merganser::merganser INTERFACE_INCLUDE_DIRECTORIES)
  string(REGEX REPLACE "\\$<BUILD_INTERFACE:([^>]*)>" "\\1" include_folders "${include_folders}")
  list(FILTER include_folders EXCLUDE REGEX "\\$<")
  set(no_lto "")
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    set(no_lto -fno-lto)  # else the text would not stand in the object as it is
  endif()
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
  set(CMAKE_TRY_COMPILE_CONFIGURATION ${CMAKE_BUILD_TYPE})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/merganser_compiled_name.a)
  try_compile(merganser_compiled_probe ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles SOURCES ${merganser_compiled_folder}/name.cpp
              CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${include_folders}" COMPILE_DEFINITIONS ${directory_options} ${ARGN} ${no_lto}
              CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON COPY_FILE ${object} COPY_FILE_ERROR error OUTPUT_VARIABLE said)
  set(name "")
  if(merganser_compiled_probe AND NOT error)
    file(STRINGS ${object} name REGEX "merganser_compiled_for=[A-Za-z0-9_]+!" LIMIT_COUNT 1)
    string(REGEX REPLACE "^.*merganser_compiled_for=([A-Za-z0-9_]+)!.*$" "\\1" name "${name}")
  endif()
  unset(merganser_compiled_probe CACHE)
  set(${OUT} "${name}" PARENT_SCOPE)
endfunction()

function(merganser_add_compiled NAME)
  if(NOT TARGET merganser::io)
    message(FATAL_ERROR "merganser_add_compiled: got no target merganser::io, expected one: it needs nlohmann_json "
                        "(Debian: nlohmann-json3-dev)")
  endif()
  merganser_compiled_name(name ${ARGN})
  if(NOT name)
    message(WARNING "merganser_add_compiled: the compiler does not say for which instruction set it compiles: units that "
                    "link ${NAME} make their own instantiations")
    set(name nothing)
  endif()
  add_library(${NAME} STATIC EXCLUDE_FROM_ALL ${merganser_compiled_units})
  target_link_libraries(${NAME} PUBLIC merganser::io)
  target_compile_options(${NAME} PUBLIC ${ARGN})
  target_compile_definitions(${NAME} PUBLIC MERGANSER_COMPILED_FOR_${name}=0,1)
endfunction()
