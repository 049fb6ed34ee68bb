# One program for many processors: units compiled once for each of several instruction sets ("levels"); the best one that
# the processor has is chosen when the program runs. For ELF systems with g++ or clang++ and GNU binutils, on x86-64 and
# AArch64; elsewhere the units are compiled once, with the flags of the target.
#
#   merganser_add_dispatched(TARGET sources... ISAS level... HEADER header ENTRIES function... [PARTS name...])
#
# TARGET    an executable or library that links merganser::merganser; its other libraries, include paths, definitions,
#           options and its C++ standard, made before this call or after it, hold for the units too. One call a target.
# sources   the units, which are no sources of TARGET
# ISAS      from the level that runs everywhere to the one that needs most: base (no flags), v2, v3, v4 (-march=x86-64-v3
#           and so on; left out on other processors), or NAME=flags of your own
# HEADER    declares the entry points
# ENTRIES   functions with C linkage that the units define and the rest of the program calls by these names. They take a
#           fixed number of arguments and return plain types: no type of the library may cross, its layout differs from
#           level to level.
# PARTS     more units, which several programs share: of merganser_add_dispatched_parts(name sources... ISAS level...),
#           an INTERFACE library that programs link to compile as its units do
#
# Both leave the names of the object libraries of their units, one a level, in the variable <name>_units.
#
# The first call of an entry point chooses the last level all of whose instructions the processor has, or the one that the
# variable MERGANSER_LEVEL of the environment names, and initialises its static variables (core/dispatch.hpp). From then
# on an entry point is a call by a pointer.
#
# Each level is linked by itself into one object in which everything but its entry points is local. Otherwise the linker
# would keep one copy of an inline function of the standard library, Eigen or JSON for all levels, that of the first, which
# may hold instructions that the processor does not have. Link-time optimisation is not for such units.

# Sets MERGANSER_LD, MERGANSER_OBJCOPY and MERGANSER_NM in the cache to GNU's, those of the compiler; empty where a level
# cannot be linked by itself. CMake's own choice may be of LLVM, whose linker cannot.
function(merganser_find_binutils)
  if(DEFINED CACHE{MERGANSER_LD})
    return()
  endif()
  set(help "")
  foreach(tool IN ITEMS ld objcopy nm)
    unset(path)
    if(CMAKE_CXX_COMPILER_ID MATCHES "^(GNU|Clang)$" AND UNIX AND NOT APPLE)
      execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-prog-name=${tool} OUTPUT_VARIABLE name
                      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      find_program(path ${name} NO_CACHE)
    endif()
    set(found_${tool} ${path})
  endforeach()
  if(found_ld AND found_objcopy AND found_nm)
    execute_process(COMMAND ${found_ld} --help OUTPUT_VARIABLE help ERROR_QUIET)
  endif()
  if(NOT help MATCHES "--force-group-allocation")
    set(found_ld "")
  endif()
  set(MERGANSER_LD "${found_ld}" CACHE INTERNAL "GNU ld, if it is there")
  set(MERGANSER_OBJCOPY "${found_objcopy}" CACHE INTERNAL "GNU objcopy")
  set(MERGANSER_NM "${found_nm}" CACHE INTERNAL "GNU nm")
endfunction()

# Sets OUT to the levels that this compiler and processor know, as NAME=flags: one, "base=", where there is no choice.
function(merganser_known_levels OUT)
  set(known "")
  string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
  foreach(level IN LISTS ARGN)
    if(level MATCHES "^[A-Za-z0-9_.-]+=")
      list(APPEND known "${level}")
    elseif(level STREQUAL "base")
      list(APPEND known "base=")
    elseif(NOT level MATCHES "^v[234]$")
      message(FATAL_ERROR "merganser_add_dispatched: ISAS: got ${level}, expected base, v2, v3, v4 or NAME=flags")
    elseif(processor MATCHES "^(x86_64|amd64)$")
      list(APPEND known "${level}=-march=x86-64-${level}")
    endif()
  endforeach()
  set(ids "")
  foreach(level IN LISTS known)
    string(REGEX REPLACE "=.*$" "" name "${level}")
    string(MAKE_C_IDENTIFIER ${name} id)
    if(id IN_LIST ids)
      message(FATAL_ERROR "merganser_add_dispatched: ISAS: got ${name} twice, expected levels of different names, even with _ for what is no letter or digit")
    endif()
    list(APPEND ids ${id})
  endforeach()
  merganser_find_binutils()
  list(LENGTH known count)
  if(NOT MERGANSER_LD OR count EQUAL 0)
    message(STATUS "merganser: no choice of instruction set at run time on this system")
    set(known "base=")
  endif()
  set(${OUT} "${known}" PARENT_SCOPE)
endfunction()

# The object library of one level, and in the caller's scope its `id`: what the level is called in names of targets.
macro(merganser_add_level NAME level)
  string(REGEX MATCH "^([^=]+)=(.*)$" matched "${level}")
  set(level_name ${CMAKE_MATCH_1})
  string(MAKE_C_IDENTIFIER ${level_name} id)
  separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_2}")
  add_library(${NAME}_${id} OBJECT ${ARGN})
  target_compile_options(${NAME}_${id} PRIVATE ${flags})
  merganser_compile_for_level(${NAME}_${id})
endmacro()

# What objects that are linked by themselves are compiled with.
function(merganser_compile_for_level OBJECTS)
  target_compile_options(${OBJECTS} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique> -fno-lto)
  target_compile_definitions(${OBJECTS} PRIVATE MERGANSER_LINKED_ALONE)  # nothing is in merganser::compiled for them
  set_target_properties(${OBJECTS} PROPERTIES POSITION_INDEPENDENT_CODE ON INTERPROCEDURAL_OPTIMIZATION OFF)
endfunction()

function(merganser_add_dispatched_parts NAME)
  cmake_parse_arguments(arg "" "" "ISAS" ${ARGN})
  add_library(${NAME} INTERFACE)
  merganser_known_levels(levels ${arg_ISAS})
  foreach(level IN LISTS levels)
    merganser_add_level(${NAME} "${level}" ${arg_UNPARSED_ARGUMENTS})
    target_link_libraries(${NAME}_${id} PRIVATE ${NAME})
    list(APPEND ${NAME}_units ${NAME}_${id})
  endforeach()
  set(${NAME}_units ${${NAME}_units} PARENT_SCOPE)
endfunction()

function(merganser_add_dispatched TARGET)
  cmake_parse_arguments(arg "" "HEADER" "ISAS;ENTRIES;PARTS" ${ARGN})
  set(units ${arg_UNPARSED_ARGUMENTS})
  foreach(needed IN ITEMS ISAS HEADER ENTRIES)
    if(NOT arg_${needed})
      message(FATAL_ERROR "merganser_add_dispatched(${TARGET}): ${needed} is missing")
    endif()
  endforeach()
  if(NOT TARGET ${TARGET})
    message(FATAL_ERROR "merganser_add_dispatched(${TARGET}): expected a target that add_executable or add_library made before")
  endif()
  get_target_property(units_before ${TARGET} MERGANSER_UNITS)
  if(units_before)
    message(FATAL_ERROR "merganser_add_dispatched(${TARGET}): this is the second call, after that with ${units_before}; name all units and entries in one")
  endif()
  set_target_properties(${TARGET} PROPERTIES MERGANSER_UNITS "${units}")
  foreach(entry IN LISTS arg_ENTRIES)
    if(NOT entry MATCHES "^[A-Za-z_][A-Za-z0-9_]*$")
      message(FATAL_ERROR "merganser_add_dispatched(${TARGET}): ENTRIES: got ${entry}, expected the name of a function with C linkage, outside of any namespace")
    endif()
  endforeach()
  set(dir ${CMAKE_CURRENT_BINARY_DIR}/${TARGET}_levels)
  file(CONFIGURE OUTPUT ${dir}/language.cpp CONTENT "// So that ${TARGET} and what links it are linked as C++.\n")
  target_sources(${TARGET} PRIVATE ${dir}/language.cpp)
  cmake_language(EVAL CODE "cmake_language(DEFER CALL merganser_refuse_sources [[${TARGET}]] [[${units}]])")
  merganser_known_levels(levels ${arg_ISAS})
  list(LENGTH levels count)
  if(count LESS 2)
    merganser_add_level(${TARGET} "${levels}" ${units})
    merganser_inherit(${TARGET}_${id} ${TARGET})
    set(${TARGET}_units ${TARGET}_${id} PARENT_SCOPE)
    target_sources(${TARGET} PRIVATE $<TARGET_OBJECTS:${TARGET}_${id}>)
    foreach(part IN LISTS arg_PARTS)
      target_sources(${TARGET} PRIVATE $<TARGET_OBJECTS:${part}_${id}>)
    endforeach()
    return()
  endif()

  string(MAKE_C_IDENTIFIER ${TARGET} symbol)
  cmake_path(ABSOLUTE_PATH arg_HEADER OUTPUT_VARIABLE header)
  file(CONFIGURE OUTPUT ${dir}/needs.cpp @ONLY CONTENT [[
// What this level needs of a processor; made by merganser_add_dispatched.
#include <merganser/core/processor.hpp>

extern "C" {
extern const std::uint64_t merganser_needs;
const std::uint64_t merganser_needs = merganser::needed_instructions;
}
]])
  set(script ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/dispatch/link_alone.cmake)
  list(JOIN arg_ENTRIES "|" entries)
  set(link_alone ${CMAKE_COMMAND} "-DENTRIES=${entries}" -DSYMBOL=${symbol} -DLINKER=${MERGANSER_LD}
                 -DOBJCOPY=${MERGANSER_OBJCOPY} -DNM=${MERGANSER_NM})
  set(linked ${dir})
  get_property(several GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(several)
    set(linked ${dir}/$<CONFIG>)
  endif()
  set(declared "")   # of each level: its functions, what it needs, its initialisers
  set(table "")      # of levels
  foreach(level IN LISTS levels)
    merganser_add_level(${TARGET} "${level}" ${units} ${dir}/needs.cpp)
    merganser_inherit(${TARGET}_${id} ${TARGET})
    list(APPEND ${TARGET}_units ${TARGET}_${id})
    set(objects $<TARGET_OBJECTS:${TARGET}_${id}>)
    add_dependencies(${TARGET} ${TARGET}_${id})  # make does not see through TARGET_OBJECTS
    foreach(part IN LISTS arg_PARTS)
      list(APPEND objects $<TARGET_OBJECTS:${part}_${id}>)
      add_dependencies(${TARGET} ${part}_${id})
    endforeach()
    set(renamed ${symbol}_needs_${id})
    set(section ${symbol}_initializers_${id})
    add_custom_command(
      OUTPUT ${linked}/${id}.o
      COMMAND ${link_alone} "-DOBJECTS=$<JOIN:${objects},|>" -DOUTPUT=${linked}/${id}.o -DLEVEL=${id} -P ${script}
      DEPENDS ${objects} ${script}
      COMMENT "Linking level ${level_name} of ${TARGET}" VERBATIM)
    target_sources(${TARGET} PRIVATE ${linked}/${id}.o)
    set_source_files_properties(${linked}/${id}.o PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    string(APPEND declared "HIDDEN extern const std::uint64_t ${renamed};\n"
           "[[gnu::weak]] extern const merganser::Level::Initializer __start_${section}[], __stop_${section}[];\n")
    foreach(entry IN LISTS arg_ENTRIES)
      string(APPEND declared "HIDDEN decltype(${entry}) ${entry}_${id};"
             "  // of ENTRIES: ${arg_HEADER} is to declare ${entry}, a function with C linkage\n")
      string(APPEND ${entry}_functions "&${entry}_${id}, ")
    endforeach()
    string(APPEND table "      {\"${level_name}\", ${renamed}, {__start_${section}, __stop_${section}}},\n")
  endforeach()
  set(entries "")
  foreach(entry IN LISTS arg_ENTRIES)
    string(APPEND entries "MERGANSER_ENTRY(${entry}, ${${entry}_functions})\n")
  endforeach()
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/dispatch/levels.cpp.in ${dir}/levels.cpp @ONLY)
  add_library(${TARGET}_levels OBJECT ${dir}/levels.cpp)
  merganser_inherit(${TARGET}_levels ${TARGET})
  merganser_compile_for_level(${TARGET}_levels)
  add_dependencies(${TARGET} ${TARGET}_levels)
  add_custom_command(
    OUTPUT ${linked}/levels.o
    COMMAND ${link_alone} -DOBJECTS=$<TARGET_OBJECTS:${TARGET}_levels> -DOUTPUT=${linked}/levels.o -P ${script}
    DEPENDS $<TARGET_OBJECTS:${TARGET}_levels> ${script} VERBATIM)
  target_sources(${TARGET} PRIVATE ${linked}/levels.o)
  set_source_files_properties(${linked}/levels.o PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  set(${TARGET}_units ${${TARGET}_units} PARENT_SCOPE)
endfunction()

# Compiles OBJECTS as TARGET, whatever is set for that later in the same folder.
function(merganser_inherit OBJECTS TARGET)
  target_link_libraries(${OBJECTS} PRIVATE $<TARGET_PROPERTY:${TARGET},LINK_LIBRARIES>)
  target_compile_definitions(${OBJECTS} PRIVATE $<TARGET_PROPERTY:${TARGET},COMPILE_DEFINITIONS>)
  target_include_directories(${OBJECTS} PRIVATE $<TARGET_PROPERTY:${TARGET},INCLUDE_DIRECTORIES>)
  target_compile_options(${OBJECTS} BEFORE PRIVATE $<TARGET_PROPERTY:${TARGET},COMPILE_OPTIONS>)  # the level's flags win
  target_compile_features(${OBJECTS} PRIVATE $<TARGET_PROPERTY:${TARGET},COMPILE_FEATURES>)
  cmake_language(EVAL CODE "cmake_language(DEFER CALL merganser_inherit_standard [[${OBJECTS}]] [[${TARGET}]])")
endfunction()

# The properties that no generator expression reaches.
function(merganser_inherit_standard OBJECTS TARGET)
  foreach(property IN ITEMS CXX_STANDARD CXX_STANDARD_REQUIRED CXX_EXTENSIONS)
    get_target_property(value ${TARGET} ${property})
    if(NOT value STREQUAL "value-NOTFOUND")
      set_target_properties(${OBJECTS} PROPERTIES ${property} "${value}")
    endif()
  endforeach()
endfunction()

# A unit that is a source of TARGET, too, would be what its entry points mean, without any choice.
function(merganser_refuse_sources TARGET UNITS)
  get_target_property(sources ${TARGET} SOURCES)
  set(paths "")
  foreach(source IN LISTS sources)
    cmake_path(ABSOLUTE_PATH source)
    list(APPEND paths "${source}")
  endforeach()
  foreach(unit IN LISTS UNITS)
    cmake_path(ABSOLUTE_PATH unit OUTPUT_VARIABLE path)
    if(path IN_LIST paths)
      message(FATAL_ERROR "merganser_add_dispatched(${TARGET}): ${unit} is a source of ${TARGET}, too; it is compiled once a level, so leave it out there")
    endif()
  endforeach()
endfunction()
