# Runs byte_demo and says what is wrong with what it did. For scripts with BYTE_DEMO and WORK_DIR set.

function(report_failure what)
  message(SEND_ERROR "${what}\nexit code: ${exit_code}\nstdout: ${out}\nstderr: ${err}")
endfunction()

# byte_demo with the arguments; sets exit_code, out and err.
macro(run)
  execute_process(COMMAND ${BYTE_DEMO} ${ARGN} WORKING_DIRECTORY ${WORK_DIR} RESULT_VARIABLE exit_code
                  OUTPUT_VARIABLE out ERROR_VARIABLE err INPUT_FILE /dev/null)
endmacro()

macro(succeeds)
  run(${ARGN})
  if(NOT exit_code STREQUAL "0")
    report_failure("should succeed: ${ARGN}")
  endif()
endmacro()

# The same with an empty TEXT at the end, which no CMake list can hold.
macro(succeeds_with_empty_text)
  execute_process(COMMAND ${BYTE_DEMO} ${ARGN} "" WORKING_DIRECTORY ${WORK_DIR} RESULT_VARIABLE exit_code
                  OUTPUT_VARIABLE out ERROR_VARIABLE err INPUT_FILE /dev/null)
  if(NOT exit_code STREQUAL "0")
    report_failure("should succeed with an empty text: ${ARGN}")
  endif()
endmacro()

# Sets err to itself without the lines that say what was passed over.
macro(without_warnings)
  string(REGEX REPLACE "(byte_demo: warning: |--[a-z]+ [^\n]* of the run is passed over)[^\n]*\n" "" err "${err}")
endmacro()

# One line on stderr besides warnings, nothing on stdout, an exit code that is no signal's.
function(fails_with expected)
  run(${ARGN})
  without_warnings()
  if(NOT exit_code MATCHES "^[0-9]+$" OR exit_code LESS 1 OR exit_code GREATER 125)
    report_failure("should fail with 1 to 125: ${ARGN}")
  endif()
  if(NOT err MATCHES "^byte_demo: [^\n]+\n$" OR NOT err MATCHES "${expected}")
    report_failure("should say '${expected}' in one line: ${ARGN}")
  endif()
  if(NOT out STREQUAL "")
    report_failure("should print nothing: ${ARGN}")
  endif()
endfunction()

function(expect_match text pattern)
  if(NOT text MATCHES "${pattern}")
    report_failure("'${text}' should match '${pattern}'")
  endif()
endfunction()

# out is one JSON object and nothing else.
function(expect_one_object)
  string(JSON type ERROR_VARIABLE error TYPE "${out}")
  string(JSON again ERROR_VARIABLE error_again GET "[${out}]" 0)
  if(NOT type STREQUAL "OBJECT" OR error_again)
    report_failure("should be one JSON object")
  endif()
endfunction()
