# merganser::compiled: the usual instantiations, compiled once in the tree of whoever links it, so that units which load a
# model, run, train or save it compile in seconds. Nothing of it is built until something links it.
#
#   find_package(merganser REQUIRED COMPONENTS compiled)      or add_subdirectory(merganser)
#   target_link_libraries(program PRIVATE merganser::compiled)
#
# It is compiled with the flags of the directory that asks for it. A unit that is compiled for another instruction set, with
# OpenMP where that is not, or with checked containers makes its own instantiations, as if it did not link the library;
# `#if !MERGANSER_COMPILED` tells. For units with flags of their own:
#
#   merganser_add_compiled(NAME [options...])    a static library NAME; what links it gets the options, too
#
# It is for programs and for libraries that stay in the tree: one that is installed links merganser::io.
#
# What is in it: models::EncoderDecoder, its Encoder and Decoder, SequenceClassifier, generate, beam_search, io::load_model,
# load_for_inference and save_model, training::Trainer of an EncoderDecoder, merge::DeleteGate as a policy; all in float.

# Sets OUT to the units of the library.
function(merganser_compiled_units OUT)
  set(units delete_gate models classifier generation model_directory trainer)
  list(TRANSFORM units PREPEND ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/compiled/)
  list(TRANSFORM units APPEND .cpp)
  set(${OUT} ${units} PARENT_SCOPE)
endfunction()

function(merganser_add_compiled NAME)
  if(NOT TARGET merganser::io)
    message(FATAL_ERROR "merganser_add_compiled: got no target merganser::io, expected one: it comes with merganser, in the "
                        "folder that calls find_package, where nlohmann_json is found (Debian: nlohmann-json3-dev)")
  endif()
  set(folder ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/compiled)
  merganser_compiled_units(units)
  add_library(${NAME} STATIC EXCLUDE_FROM_ALL ${units})
  target_link_libraries(${NAME} PUBLIC merganser::io)
  target_compile_options(${NAME} PUBLIC ${ARGN} PRIVATE $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-w>)
  if(NOT DEFINED CMAKE_POSITION_INDEPENDENT_CODE)
    set_target_properties(${NAME} PROPERTIES POSITION_INDEPENDENT_CODE ON)  # a shared library may link it
  endif()

  # What these flags make of the namespace is known when they have compiled something: then a header says so.
  add_library(${NAME}_name OBJECT EXCLUDE_FROM_ALL ${folder}/name.cpp)
  set_target_properties(${NAME}_name PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
  target_link_libraries(${NAME}_name PRIVATE merganser::merganser)
  target_compile_options(${NAME}_name PRIVATE ${ARGN} $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-fno-lto>)
  set(header ${CMAKE_CURRENT_BINARY_DIR}/${NAME}_for/$<CONFIG>/merganser_compiled_for.hpp)
  add_custom_command(
    OUTPUT ${header}
    COMMAND ${CMAKE_COMMAND} -DOBJECT=$<TARGET_OBJECTS:${NAME}_name> -DHEADER=${header} -P ${folder}/header.cmake
    DEPENDS $<TARGET_OBJECTS:${NAME}_name> ${folder}/header.cmake VERBATIM)
  target_sources(${NAME} PRIVATE ${header})
  target_compile_definitions(${NAME} PUBLIC "MERGANSER_COMPILED_HEADER=\"${header}\"")
endfunction()
