# byte_demo at the terminal: Ctrl-C, limits on threads, figures that are no numbers, models that are in the way, and what
# a stranger types.
#
#   cmake -DBYTE_DEMO=<executable> -DGOLDEN_DIR=<tests/golden> -DWORK_DIR=<scratch folder> -P byte_demo_terminal_test.cmake
cmake_minimum_required(VERSION 3.24)

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})
include(${CMAKE_CURRENT_LIST_DIR}/byte_demo_commands.cmake)

set(intact ${GOLDEN_DIR}/mrt5_soft_hard)
set(tiny --width 16 --heads 2 --head-width 8 --feed-forward 16 --encoder-blocks 2 --windows 4 --batch 3)
set(task --task copy --window 12)

# A shell command in the scratch folder; $B is byte_demo.
macro(shell)
  execute_process(COMMAND sh -c "B='${BYTE_DEMO}'; ${ARGN}" WORKING_DIRECTORY ${WORK_DIR} RESULT_VARIABLE exit_code
                  OUTPUT_VARIABLE out ERROR_VARIABLE err INPUT_FILE /dev/null)
endmacro()

function(expect_exit code)
  if(NOT exit_code STREQUAL code)
    report_failure("should end with ${code}")
  endif()
endfunction()

# ---- Ctrl-C ----

find_program(timeout_program timeout)
if(timeout_program)
  # `stopped` sends a signal to a run that would take hours.
  macro(stopped signal)
    execute_process(COMMAND ${timeout_program} --foreground --preserve-status -s ${signal} 2 ${BYTE_DEMO} train ${task}
                            ${tiny} --steps 10000000 --gate-open-until 1000 ${ARGN}
                    WORKING_DIRECTORY ${WORK_DIR} RESULT_VARIABLE exit_code OUTPUT_VARIABLE out ERROR_VARIABLE err
                    INPUT_FILE /dev/null)
  endmacro()
  stopped(INT --checkpoints run --checkpoint-every 100000000 --save stopped_model)
  expect_exit(130)
  expect_match("${err}" "\nstopped behind step [0-9]+ of 10000000; to go on: byte_demo train --resume run --save stopped_model\n$")
  file(GLOB present ${WORK_DIR}/run/step-*)
  list(LENGTH present count)
  if(NOT count EQUAL 2)
    report_failure("there should be the first checkpoint and that of the stop, not ${present}")
  endif()
  succeeds(selftest --model stopped_model)
  stopped(TERM --save only_model)
  expect_exit(143)
  expect_match("${err}" "\nstopped behind step [0-9]+ of 10000000; the model is in only_model, and train --from ")
  succeeds(evaluate --model only_model ${task} --windows 2)
  stopped(INT)
  expect_exit(130)
  expect_match("${err}" "; nothing is saved, as neither --checkpoints nor --save was given\n$")
endif()

# A run that is resumed may write over the model that it has saved itself; another one is asked first.
succeeds(train ${task} ${tiny} --steps 4 --checkpoints own --checkpoint-every 2 --save own_model)
file(REMOVE_RECURSE ${WORK_DIR}/own/step-00000004)
succeeds(train --resume own)
succeeds(train --resume own)
expect_match("${err}" "the run is finished: only evaluating; to train its model further: byte_demo train --from ")
fails_with("--save own_model: there is a model already; --force writes over it" train ${task} ${tiny} --steps 1
           --save own_model)
fails_with("--save own_model: there is a model already" convert --model ${intact} --save own_model)
succeeds(train ${task} ${tiny} --steps 1 --save own_model --force)
fails_with("--steps: got 9, expected 4, as the run in own has: its learning rate ends there. To go on from its model: "
           train --resume own --steps 9)

# ---- What a run has not reached is said ----

succeeds(train ${task} ${tiny} --steps 3)
expect_match("${out}" "The model hardly reads its source yet: [0-9.]+ bits per byte with it")
expect_match("${out}" "Far from the target: [0-9.]+ % are deleted, 30.0 %")

# ---- Threads ----

shell("ulimit -v 1500000; exec \"$B\" evaluate --model ${intact} --task copy --windows 2 --threads 1000 --json")
expect_exit(0)
expect_match("${err}" "^threads: the system has no 1000; going on with [0-9]+\n$")

# ---- What a log or a new model must not do to an old one ----

file(COPY ${intact}/ DESTINATION ${WORK_DIR}/read)
foreach(name config.json model.safetensors)
  fails_with("--log read/${name} is there and holds no log" train --from read ${task} --windows 2 --steps 1
             --log read/${name})
endforeach()
fails_with("--log same is where the model goes" train ${task} ${tiny} --steps 1 --log same --save same)
succeeds(train ${task} ${tiny} --steps 1 --log log.jsonl)
succeeds(train ${task} ${tiny} --steps 1 --log log.jsonl)
file(WRITE ${WORK_DIR}/killed.jsonl "{\"eve")  # in the middle of its first line
succeeds(train ${task} ${tiny} --steps 1 --log killed.jsonl)
fails_with("--log log.jsonl is one of the files to read" train --text log.jsonl --window 16 ${tiny} --steps 1
           --log log.jsonl)
file(WRITE ${WORK_DIR}/read/spiece.model "x")
file(WRITE ${WORK_DIR}/read/generation_config.json "{\"max_length\": 5}")
fails_with("spiece.model: file: got a tokenizer.*; --any-tokenizer loads it" generate --model read abc)
succeeds(train ${task} ${tiny} --steps 1 --save read --force)
if(EXISTS ${WORK_DIR}/read/spiece.model OR EXISTS ${WORK_DIR}/read/generation_config.json)
  report_failure("what is said about the old model should go with it")
endif()
file(WRITE ${WORK_DIR}/read/selftest.json "{\"version\": 1, \"tolerance\": 0.001, \"seed\": 1, \"cases\": []}")
fails_with("read/selftest.json: cases: got none" selftest --model read)
file(REMOVE ${WORK_DIR}/read/selftest.json)
fails_with("read/selftest.json: file: got no such file, expected answers, as byte_demo selftest --write" selftest
           --model read)
file(WRITE ${WORK_DIR}/read/task.json "{\"version\": 1, \"task\": \"denoise\", \"mask_id\": 9999}")
fails_with("read/task.json: mask_id: got 9999, expected an id below" generate --model read "a text without a mask")
fails_with("--model= has no value" show --model= x)
if(EXISTS /dev/full)
  foreach(arguments "" "--version" "show --model ${intact} x")
    shell("\"$B\" ${arguments} > /dev/full")
    expect_exit(1)
    expect_match("${err}" "cannot write to standard output")
  endforeach()
endif()

# ---- Memory ----

fails_with("--batch 65536: a step would keep [0-9]+ GB or more for [0-9]+ tokens, and the machine has [0-9]+ GB; "
           train --task copy --width 64 --encoder-blocks 2 --windows 1 --window 1000000 --batch 65536)

# ---- Columns ----

set(ENV{COLUMNS} 60)
succeeds(train ${task} ${tiny} --steps 3)
string(REGEX MATCHALL "[^\n]+" lines "${out}\n${err}")
foreach(line IN LISTS lines)
  string(LENGTH "${line}" length)
  if(length GREATER 60 AND NOT line MATCHES " loss ")
    report_failure("should have at most 60 columns: ${line}")
  endif()
endforeach()
set(ENV{COLUMNS})

# ---- Figures that are no numbers ----

file(MAKE_DIRECTORY ${WORK_DIR}/nan)
file(COPY ${intact}/config.json ${intact}/model.safetensors DESTINATION ${WORK_DIR}/nan)
# Every byte of the tensors becomes 0x5d: numbers of 1e18, which are finite, and what is made of them is not.
file(WRITE ${WORK_DIR}/nan.sh [=[
length=$(head -c 8 nan/model.safetensors | od -An -t u8 | tr -d ' ')
size=$(wc -c < nan/model.safetensors)
head -c $((8 + length)) nan/model.safetensors > nan/new
head -c $((size - 8 - length)) /dev/zero | tr '\000' '\135' >> nan/new
mv nan/new nan/model.safetensors
]=])
shell("sh nan.sh")
expect_exit(0)
run(evaluate --model nan --task copy --windows 2)
expect_exit(1)
expect_match("${err}" "^byte_demo: evaluate: logits: got -?(nan|inf), expected numbers[^\n]*\n$")
fails_with("logits: got -?(nan|inf)" generate --model nan "Hello")
fails_with("logits: got -?(nan|inf)" generate --model nan "Hello" --stream)
fails_with("logits: got -?(nan|inf)" generate --model nan "Hello" --beams 2)
fails_with("logits: got -?(nan|inf)" generate --model nan "Hello" --temperature 1)

# ---- Rates of models without gates ----

set(plain ${GOLDEN_DIR}/byt5_plain)
foreach(choice IN ITEMS "--target;0.5" "--threshold;-10" "--rate;0.5" "--milliseconds-per-kilobyte;5")
  list(GET choice 0 option)
  fails_with("${option}: the model in [^ ]*byt5_plain has no gate and deletes nothing" show --model ${plain} ${choice} x)
  fails_with("${option}: the model in [^ ]*canine has a pooling" generate --model ${GOLDEN_DIR}/canine ${choice} x)
  fails_with("${option}: the model in [^ ]*byt5_plain has no gate" evaluate --model ${plain} ${task} ${choice})
endforeach()
fails_with("--threshold: got 0.5, expected a number from -1e\\+09 to 0" show --model ${intact} --threshold 0.5 x)

# ---- Pairs that are sorted ----

set(pairs "")
foreach(number RANGE 1 100)
  string(APPEND pairs "source ${number}\t")
  if(number LESS 91)
    string(APPEND pairs "a\n")
  else()
    string(APPEND pairs "bbbbbbbbbbbbbbbb\n")
  endif()
endforeach()
file(WRITE ${WORK_DIR}/sorted.tsv "${pairs}")
succeeds(train --tsv sorted.tsv --width 16 --encoder-blocks 1 --steps 1 --windows 100)
expect_match("${out}" "Over 10 sequences, [0-9]+ source bytes and [2-9][0-9] target tokens")  # the last ten have 170

# ---- What a stranger types ----

fails_with("there is no subcommand evaluat; there are vowels, train, evaluate, show, generate, calibrate, " evaluat)
succeeds(--model ${intact} show "Hello")
set(before "${out}")
succeeds(show --model ${intact} "Hello")
if(NOT out STREQUAL before)
  report_failure("--model should do before and behind the subcommand")
endif()
succeeds(show "Hello")
expect_match("${out}" "^[^\n]+\ndeleted ")
shell("printf 'one\\ntwo\\n' | \"$B\" generate --model ${intact} --max-length 4")
expect_exit(0)
expect_match("${out}" "^[^\n]*\n[^\n]*\n$")
foreach(option IN ITEMS --save --log --checkpoints --resume --from --valid)
  shell("exec \"$B\" train --task copy ${option} ''")
  expect_exit(2)
  expect_match("${err}" "^byte_demo: ${option}: the name is empty\n$")
endforeach()
fails_with("--seed: got 18446744073709551616, expected a whole number from 0 to 18446744073709551615" evaluate --model ${intact}
           ${task} --seed 18446744073709551616)
succeeds(evaluate --model ${intact} ${task} --windows 1 --seed 18446744073709551615)
fails_with("--max-length" generate --model ${intact} --max-length 1 x)

# Nowhere to write: said before anything is measured. (Whoever may write everywhere sees nothing of it.)
file(MAKE_DIRECTORY ${WORK_DIR}/locked)
file(COPY ${intact}/config.json ${intact}/model.safetensors DESTINATION ${WORK_DIR}/locked)
shell("chmod 555 locked; touch locked/x 2>/dev/null")
if(NOT exit_code STREQUAL "0")
  fails_with("calibration.json goes there: got a directory that cannot be written to" calibrate --model locked
             --text no_such_text)
endif()
shell("chmod 755 locked")
