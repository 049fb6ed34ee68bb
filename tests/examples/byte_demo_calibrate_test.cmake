# byte_demo calibrate, and everything that takes its threshold from what it wrote.
#
#   cmake -DBYTE_DEMO=<executable> -DGOLDEN_DIR=<tests/golden> -DWORK_DIR=<scratch folder> -P byte_demo_calibrate_test.cmake
cmake_minimum_required(VERSION 3.24)

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})
set(golden_model ${GOLDEN_DIR}/mrt5_soft_hard)

include(${CMAKE_CURRENT_LIST_DIR}/byte_demo_commands.cmake)

file(COPY ${golden_model}/config.json ${golden_model}/model.safetensors DESTINATION ${WORK_DIR}/model)
string(REPEAT "Deep in the wood a merganser dives, 17 times in 9 minutes; nobody counts. " 30 prose)
file(WRITE ${WORK_DIR}/text.txt "${prose}")

# A rate that evaluate measures.
function(expect_rate low high)
  succeeds(evaluate --model model --text text.txt --json ${ARGN})
  string(JSON rate GET "${out}" hard deletion_rate)
  if(rate LESS low OR rate GREATER high)
    report_failure("the rate ${rate} should lie in ${low} .. ${high}: ${ARGN}")
  endif()
endfunction()

# ---- Without a table ----

set(evaluate --text text.txt --windows 4)
set(show "Hello, world")
set(generate "Hello" --max-length 9)
foreach(subcommand evaluate show generate)
  foreach(wish "--rate;0.5" "--milliseconds-per-kilobyte;5")
    fails_with("model/calibration.json: file: got no such file, expected the table that byte_demo calibrate writes"
               ${subcommand} --model model ${${subcommand}} ${wish})
  endforeach()
  succeeds(${subcommand} --help)
  expect_match("${out}" "--rate X.*--milliseconds-per-kilobyte X")
endforeach()

# ---- The table ----

succeeds(calibrate --model model --text text.txt --points 5 --highest-rate 0.8)
expect_match("${out}" "^ *threshold +deleted +bits/byte +accuracy +exact +ms/kB\n")
expect_match("${out}" "\n *-[0-9.]+ +0\\.0 % .*\n\nHard deletion over [0-9]+ sequences and [0-9]+ source bytes")
expect_match("${out}" "Written: model/calibration.json")
string(REPEAT "[^\n]" 81 too_long)
if(out MATCHES "${too_long}")
  report_failure("lines should have at most 80 columns")
endif()
file(READ ${WORK_DIR}/model/calibration.json table)
string(JSON points LENGTH "${table}" points)
expect_match("${points}" "^([5-9]|10)$")
string(JSON threads GET "${table}" threads)
expect_match("${threads}" "^[1-9]")

# Measured again, all but the times is the same, with any number of threads.
function(without_times result text)
  string(REGEX REPLACE "\"(milliseconds_per_kilobyte|threads)\":[^,}]*" "" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()
without_times(first "${table}")
succeeds(calibrate --model model --text text.txt --points 5 --highest-rate 0.8 --threads 1 --json)
expect_one_object()
without_times(second "${out}")
if(NOT first STREQUAL second)
  report_failure("the same table should come again:\n${first}\n${second}")
endif()
file(READ ${WORK_DIR}/model/calibration.json table)
if(NOT table STREQUAL out)
  report_failure("--json should print the file")
endif()

# ---- What it is for ----

expect_rate(0 0.01 --rate 0)
expect_rate(0.22 0.38 --rate 0.3)
expect_rate(0.52 0.68 --rate 0.6)
expect_rate(0.72 0.82 --rate 1)
expect_rate(0 0.01 --milliseconds-per-kilobyte 1e6)
fails_with("model/calibration.json: --milliseconds-per-kilobyte: got 1e-09, expected at least [0-9.e-]+, the fastest"
           show --model model x --milliseconds-per-kilobyte 1e-9)
succeeds(show --model model --json "Hello, world" --rate 0.5)
string(JSON by_rate GET "${out}" gates 0 threshold)
if(by_rate LESS -30 OR by_rate GREATER 0)
  report_failure("the threshold should be one of the table")
endif()
succeeds(show --model model --json "Hello, world" --threshold ${by_rate})
string(JSON by_threshold GET "${out}" gates 0 threshold)
expect_match("${by_threshold}" "^${by_rate}$")
succeeds(generate --model model "Hello" --max-length 9 --rate 0.5)
succeeds(generate --model model "Hello" --max-length 9 --milliseconds-per-kilobyte 1e6)

# A gate of two values makes a table of steps; other tasks make other tables.
file(WRITE ${WORK_DIR}/pairs.tsv "one\teins\ntwo\tzwei\nthree\tdrei\n")
set(small --width 16 --heads 2 --head-width 8 --feed-forward 16 --encoder-blocks 2 --steps 2 --windows 3 --batch 2)
succeeds(train --task copy ${small} --gate random --target 0.4 --save two_values)
succeeds(calibrate --model two_values --task copy --windows 40 --json)
string(JSON points LENGTH "${out}" points)
expect_match("${points}" "^[345]$")
succeeds(evaluate --model two_values --task copy --windows 40 --rate 0.4 --json)
string(JSON rate GET "${out}" hard deletion_rate)
expect_match("${rate}" "^0\\.(3[5-9]|4[0-5])")
succeeds(calibrate --model two_values --tsv pairs.tsv --points 2)

# Another model in its place has another table, or none.
succeeds(train --task copy ${small} --force --save two_values)
if(EXISTS ${WORK_DIR}/two_values/calibration.json)
  report_failure("the table of a model that is gone should be gone")
endif()

# ---- Mistakes ----

succeeds(train --task copy ${small} --no-gate --save ungated)
fails_with("calibrate: the model in ungated has no gate" calibrate --model ungated --task copy)
fails_with("--text" calibrate --model model)
fails_with("--model" calibrate --text text.txt)
fails_with("no_such_model" calibrate --model no_such_model --task copy)
fails_with("--points" calibrate --model model --task copy --points 1)
fails_with("--highest-rate" calibrate --model model --task copy --highest-rate 0)
fails_with("--rate" show --model model x --rate 1.1)
fails_with("--milliseconds-per-kilobyte" show --model model x --milliseconds-per-kilobyte nan)
fails_with("--milliseconds-per-kilobyte" show --model model x --milliseconds-per-kilobyte 0)
foreach(other "--target;0.5" "--threshold;-3" "--milliseconds-per-kilobyte;5")
  fails_with("exclude" show --model model x --rate 0.5 ${other})
endforeach()
fails_with("exclude" show --model model x --milliseconds-per-kilobyte 5 --target 0.5)
fails_with("exclude" show --model model x --target 0.5 --threshold -3)
file(WRITE ${WORK_DIR}/model/calibration.json "{\"version\": 1}")
fails_with("model/calibration.json: mode: got no such key" show --model model x --rate 0.5)
succeeds(show --model model x)
file(REMOVE ${WORK_DIR}/model/calibration.json)
file(MAKE_DIRECTORY ${WORK_DIR}/model/calibration.json)
fails_with("calibration.json: file: got something that is not a regular file" show --model model x --rate 0.5)
fails_with("calibration.json" calibrate --model model --task copy --windows 2)
