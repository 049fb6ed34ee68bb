# Links objects into one in which everything but the entry points is local: those of a level, or without LEVEL the choice
# among them.
#   cmake -DOBJECTS=a.o|b.o -DOUTPUT= [-DLEVEL=v3] -DSYMBOL= -DENTRIES=f|g -DLINKER= -DOBJCOPY= -DNM= -P link_alone.cmake
cmake_minimum_required(VERSION 3.24)
string(REPLACE "|" ";" objects "${OBJECTS}")
list(FILTER objects EXCLUDE REGEX "[.](gch|pch)$")  # CMake counts precompiled headers among the objects of a target
string(REPLACE "|" ";" entries "${ENTRIES}")

# --force-group-allocation: what may stand in several objects stands in this one for good, and is not dropped in favour of
# another level's.
execute_process(COMMAND ${LINKER} -r --force-group-allocation -T ${CMAKE_CURRENT_LIST_DIR}/initializers.ld
                        -o ${OUTPUT}.whole ${objects} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${OUTPUT}.whole
                OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)

# The entry points get their names: f_v3 of a level; of the choice f, for the member `call` of a template (levels.cpp.in).
set(arguments "")
set(global "")
foreach(entry IN LISTS entries)
  if(LEVEL)
    string(REGEX MATCH "(^|\n)(${entry}) T " found "${symbols}")
    set(name ${entry}_${LEVEL})
  else()
    string(REGEX MATCH "(^|\n)(_ZN[0-9]+${entry}_entryI[^ \n]+E4callE[^ \n]+) " found "${symbols}")
    set(name ${entry})
  endif()
  if(NOT found)
    message(FATAL_ERROR "merganser_add_dispatched: ENTRIES: got ${entry}, expected a function with C linkage that the units define")
  endif()
  list(APPEND arguments --redefine-sym ${CMAKE_MATCH_2}=${name})
  list(APPEND global --globalize-symbol=${name})
endforeach()

if(LEVEL)
  list(APPEND arguments --redefine-sym merganser_needs=${SYMBOL}_needs_${LEVEL})
  list(APPEND global --globalize-symbol=${SYMBOL}_needs_${LEVEL})
  # Static variables are initialised when the level is chosen: before main it would be done with every level's
  # instructions. The linker makes __start_ and __stop_ symbols for a section of this name. With flags it becomes one of
  # plain data; gold would take it for initialisers by its type.
  list(APPEND arguments --rename-section .init_array=${SYMBOL}_initializers_${LEVEL},alloc,load,data,contents)
endif()
# First all is made local, then the entry points global: members of templates were weak, and another definition of such a
# function anywhere in the program would be taken in silence.
execute_process(COMMAND ${OBJCOPY} ${arguments} --keep-global-symbol=<none> ${OUTPUT}.whole ${OUTPUT}.local COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${OBJCOPY} ${global} ${OUTPUT}.local ${OUTPUT} COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE ${OUTPUT}.whole ${OUTPUT}.local)
