# Requires a command to have failed with a message that matches; CMake breaks the lines of messages.
function(expect_error what failed output pattern)
  string(REGEX REPLACE "[ \n]+" " " said "${output}")
  if(NOT failed OR NOT said MATCHES "${pattern}")
    message(FATAL_ERROR "${what}: got ${output}, expected an error with: ${pattern}")
  endif()
endfunction()
