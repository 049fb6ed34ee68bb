# byte_demo train --checkpoints and --resume: a run that was killed ends with the bits of one that was not, and every
# mistake ends in one clear line.
#
#   cmake -DBYTE_DEMO=<executable> -DWORK_DIR=<scratch folder> -P byte_demo_resume_test.cmake
cmake_minimum_required(VERSION 3.24)

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})
include(${CMAKE_CURRENT_LIST_DIR}/byte_demo_commands.cmake)

string(REPEAT "Deep in the wood a merganser dives for its supper. " 40 prose)
file(WRITE ${WORK_DIR}/text.txt "${prose}")
string(REPEAT "one\teins\ntwo\tzwei\nthree\tdrei\nfour\tvier\nfive\tfuenf\n" 3 pairs)
file(WRITE ${WORK_DIR}/pairs.tsv "${pairs}")
set(small --width 16 --heads 2 --head-width 8 --feed-forward 16 --encoder-blocks 2 --windows 4 --batch 3 --steps 14
          --gate-open-until 4 --hard-probability 0.5 --hard-rates 0.2,0.7)

function(expect_same_model one other)
  file(SHA256 ${WORK_DIR}/${one}/model.safetensors first)
  file(SHA256 ${WORK_DIR}/${other}/model.safetensors second)
  if(NOT first STREQUAL second)
    report_failure("${one} and ${other} should have the same weights")
  endif()
endfunction()

function(expect_steps directory)
  file(GLOB present RELATIVE ${WORK_DIR}/${directory} ${WORK_DIR}/${directory}/step-*)
  if(NOT "${present}" STREQUAL "${ARGN}")
    report_failure("${directory} should have ${ARGN}, not ${present}")
  endif()
endfunction()

# As if the machine had died behind a step: the newer checkpoints are not there.
function(die_after directory last)
  file(GLOB present RELATIVE ${WORK_DIR}/${directory} ${WORK_DIR}/${directory}/step-*)
  foreach(name IN LISTS present)
    if(name STRGREATER last)
      file(REMOVE_RECURSE ${WORK_DIR}/${directory}/${name})
    endif()
  endforeach()
endfunction()

# ---- The same bits, for every kind of data ----

set(text_run --text text.txt --window 32)
set(tsv_run --tsv pairs.tsv --gate random)
set(task_run --task copy --no-gate)
foreach(kind text tsv task)
  succeeds(train ${${kind}_run} ${small} --save ${kind}_straight)
  succeeds(train ${${kind}_run} ${small} --save ${kind}_saved --checkpoints ${kind}_run --checkpoint-every 3 --keep 9)
  expect_same_model(${kind}_straight ${kind}_saved)
  expect_steps(${kind}_run step-00000000 step-00000003 step-00000006 step-00000009 step-00000012 step-00000014)
  foreach(last step-00000000 step-00000006 step-00000012)
    file(REMOVE_RECURSE ${WORK_DIR}/died)
    file(COPY ${WORK_DIR}/${kind}_run/ DESTINATION ${WORK_DIR}/died)
    die_after(died ${last})
    succeeds(train --resume died --save ${kind}_resumed --threads 1)
    expect_same_model(${kind}_straight ${kind}_resumed)
    expect_match("${out}" "^14 steps in ")
  endforeach()
endforeach()

# A finished run is finished: it only evaluates and saves again. Options that repeat the run are welcome.
succeeds(train --resume text_run --save again ${text_run} ${small})
expect_same_model(text_straight again)

# The checkpoints are models, the last are kept, and files may move.
succeeds(evaluate --model text_run/step-00000009 --text text.txt --windows 2)
file(COPY ${WORK_DIR}/text_run/ DESTINATION ${WORK_DIR}/moved)
die_after(moved step-00000006)
file(RENAME ${WORK_DIR}/text.txt ${WORK_DIR}/elsewhere.txt)
fails_with("text.txt" train --resume moved)
succeeds(train --resume moved --text elsewhere.txt --save moved_model --keep 1 --log log.jsonl)
expect_same_model(text_straight moved_model)
file(GLOB present ${WORK_DIR}/moved/step-*)
list(LENGTH present count)
if(count GREATER 2)
  report_failure("the last and the best should be left, not ${present}")
endif()
file(STRINGS ${WORK_DIR}/log.jsonl lines)
list(GET lines 0 line)
expect_match("${line}" "\"event\":\"resume\",\"step\":6")
file(RENAME ${WORK_DIR}/elsewhere.txt ${WORK_DIR}/text.txt)

# A damaged checkpoint is passed over.
file(COPY ${WORK_DIR}/text_run/ DESTINATION ${WORK_DIR}/damaged)
die_after(damaged step-00000009)
file(WRITE ${WORK_DIR}/damaged/step-00000009/optimizer.safetensors "nothing of use")
succeeds(train --resume damaged --save damaged_model)
expect_same_model(text_straight damaged_model)
expect_match("${err}" "passed over: [^\n]*step-00000009[^\n]*\ngoing on behind step 6 of 14")

# ---- Mistakes ----

file(MAKE_DIRECTORY ${WORK_DIR}/nothing)
file(MAKE_DIRECTORY ${WORK_DIR}/all_damaged/step-00000001)
file(WRITE ${WORK_DIR}/file "x")
fails_with("no_such_run" train --resume no_such_run)
fails_with("there is no checkpoint" train --resume nothing)
fails_with("no complete one" train --resume all_damaged)
fails_with("no complete one" train ${task_run} ${small} --checkpoints all_damaged)
fails_with("file" train ${task_run} ${small} --checkpoints file)
fails_with("--checkpoints text_run holds a run; --resume" train ${text_run} ${small} --checkpoints text_run)
fails_with("exclude" train --resume text_run --checkpoints other)
fails_with("--batch: got 4, expected 3, as the run in text_run has" train --resume text_run --batch 4)
fails_with("--steps: got 20, expected 14" train --resume text_run --steps 20)
fails_with("--minutes: got 1, expected no such option" train --resume text_run --minutes 1)
fails_with("--seed: got 2, expected 1" train --resume text_run --seed 2)
fails_with("--no-gate: got given, expected no such option" train --resume text_run --no-gate)
fails_with("--gate: got learned, expected random" train --resume tsv_run --gate learned)
fails_with("--learning-rate: got 0.1, expected 0.003" train --resume text_run --learning-rate 0.1)
fails_with("--tsv: got [^ ]*pairs.tsv, expected no such option" train --resume text_run --tsv pairs.tsv)
fails_with("--keep" train --resume text_run --keep 0)
file(WRITE ${WORK_DIR}/other.txt "${prose}!")
fails_with("content of --text: got [0-9]+ bytes" train --resume text_run --text other.txt)
expect_steps(text_run step-00000000 step-00000003 step-00000006 step-00000009 step-00000012 step-00000014)
