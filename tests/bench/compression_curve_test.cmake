# Runs compression_curve on tiny settings: a curve that was killed again and again has the rows of one that was not, every
# kind of data gives rows and charts, and mistakes end in one line.
#
#   cmake -DCOMPRESSION_CURVE=<executable> -DWORK_DIR=<scratch folder> -P compression_curve_test.cmake
cmake_minimum_required(VERSION 3.24)

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})

function(report_failure what)
  message(SEND_ERROR "${what}\nexit code: ${exit_code}\nstdout: ${out}\nstderr: ${err}")
endfunction()

macro(run)
  execute_process(COMMAND ${COMPRESSION_CURVE} ${ARGN} WORKING_DIRECTORY ${WORK_DIR} RESULT_VARIABLE exit_code
                  OUTPUT_VARIABLE out ERROR_VARIABLE err INPUT_FILE /dev/null)
endmacro()

macro(succeeds)
  run(${ARGN})
  if(NOT exit_code STREQUAL "0")
    report_failure("should succeed: ${ARGN}")
  endif()
endmacro()

# One line on stderr, nothing on stdout.
function(fails_with expected)
  run(${ARGN})
  if(NOT exit_code MATCHES "^[12]$")
    report_failure("should fail: ${ARGN}")
  endif()
  if(NOT err MATCHES "^compression_curve: [^\n]+\n$" OR NOT err MATCHES "${expected}")
    report_failure("should say '${expected}' in one line: ${ARGN}")
  endif()
  if(NOT out STREQUAL "")
    report_failure("should print nothing: ${ARGN}")
  endif()
endfunction()

# The rows of a folder without what the clock and the system decide.
function(read_rows folder result)
  file(STRINGS ${WORK_DIR}/${folder}/rows.jsonl lines)
  set(rows "")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "\"(encoder_ms|total_ms)_[a-z]+\":[^,]*," "" line "${line}")
    string(REGEX REPLACE "\"(seconds|peak_memory_mb)\":[^,]*," "" line "${line}")
    string(APPEND rows "${line}\n")
  endforeach()
  set(${result} "${rows}" PARENT_SCOPE)
endfunction()

function(expect_rows folder count)
  foreach(name IN ITEMS rows.jsonl rows.csv)
    file(STRINGS ${WORK_DIR}/${folder}/${name} lines)
    list(LENGTH lines found)
    if(name STREQUAL "rows.csv")
      math(EXPR found "${found} - 1")
    endif()
    if(NOT found EQUAL count)
      report_failure("${folder}/${name} should have ${count} rows, not ${found}")
    endif()
  endforeach()
endfunction()

function(expect_charts folder)
  foreach(name IN LISTS ARGN)
    if(NOT EXISTS ${WORK_DIR}/${folder}/${name})
      report_failure("${folder}/${name} should be there")
      continue()
    endif()
    file(READ ${WORK_DIR}/${folder}/${name} svg)
    if(NOT svg MATCHES "^<svg [^>]*>.*</svg>\n$")
      report_failure("${folder}/${name} should be one picture")
    endif()
  endforeach()
endfunction()

function(expect_in_row folder number name expected)
  file(STRINGS ${WORK_DIR}/${folder}/rows.jsonl lines)
  list(GET lines ${number} line)
  string(JSON value ERROR_VARIABLE error GET "${line}" ${name})
  if(NOT value MATCHES "${expected}")
    report_failure("${folder}, row ${number}: ${name} should be like ${expected}, is ${value} ${error}")
  endif()
endfunction()

set(small --width 16 --heads 2 --head-width 8 --feed-forward 16 --encoder-blocks 2 --gate-block 1 --batch 4 --windows 8
          --window 12 --repetitions 1 --threads 1)

# ---- Killed and resumed ----

set(curve --task vowel_removal ${small} --steps 60 --checkpoint-every 7 --targets 0,0.25,0.5 --seeds 1,2)
succeeds(${curve} --out straight)
if(NOT out MATCHES "learned 50 %" OR NOT err MATCHES "left out: strided comes nowhere near a rate of 0.25")
  report_failure("should print a table, and what is left out")
endif()
expect_rows(straight 20)
expect_charts(straight bits_by_rate.svg bits_by_ms.svg accuracy_by_rate.svg accuracy_by_ms.svg controller.svg)

# Charts are drawn from the rows alone, and again the same.
file(READ ${WORK_DIR}/straight/bits_by_rate.svg trained)
file(REMOVE ${WORK_DIR}/straight/bits_by_rate.svg)
succeeds(--draw --out straight)
file(READ ${WORK_DIR}/straight/bits_by_rate.svg drawn)
if(NOT drawn STREQUAL trained)
  report_failure("should draw the chart of the run from its rows")
endif()
fails_with("no rows" --draw --out nothing)
expect_in_row(straight 0 policy "^ungated$")
expect_in_row(straight 0 deletion_rate "^0")
expect_in_row(straight 0 bits_per_byte_hard "^[0-9]")

# SIGKILL after a moment, at another place each time, then to the end.
foreach(moment IN ITEMS 0.15 0.4 0.7 0.3 1.1)
  execute_process(COMMAND ${COMPRESSION_CURVE} ${curve} --out killed WORKING_DIRECTORY ${WORK_DIR} TIMEOUT ${moment}
                  RESULT_VARIABLE exit_code OUTPUT_VARIABLE out ERROR_VARIABLE err INPUT_FILE /dev/null)
endforeach()
succeeds(${curve} --out killed)
expect_rows(killed 20)
read_rows(straight expected)
read_rows(killed rows)
if(NOT rows STREQUAL expected)
  report_failure("killed runs should give the same rows:\n${rows}\nnot\n${expected}")
endif()

# Ctrl-C ends it in order. In the foreground: else the signal goes to the program and to its group, and the second ends it
# at once.
find_program(timeout_program timeout)
if(timeout_program)
  execute_process(COMMAND ${timeout_program} --foreground -s INT 1.5 ${COMPRESSION_CURVE} --task copy ${small} --steps 100000
                          --targets 0.5 --policies learned --out interrupted
                  WORKING_DIRECTORY ${WORK_DIR} RESULT_VARIABLE exit_code OUTPUT_VARIABLE out ERROR_VARIABLE err
                  INPUT_FILE /dev/null)
  if(NOT err MATCHES "interrupted: the same command goes on\n$")
    report_failure("should say that it was interrupted")
  endif()
endif()

# Nothing is run twice; more seeds only add their runs.
succeeds(${curve} --out killed)
if(NOT err MATCHES "20 runs of 60 steps, 20 of them done\n")
  report_failure("should find all runs done")
endif()
succeeds(--task vowel_removal ${small} --steps 60 --targets 0.25 --seeds 1,3 --policies learned,random --out killed)
if(NOT err MATCHES "4 runs of 60 steps, 2 of them done\n")
  report_failure("should find the runs of the larger curve")
endif()
expect_rows(killed 22)

# A model that was saved takes the place of a run, with its figures.
file(GLOB model ${WORK_DIR}/straight/runs/learned-0.5-seed1-*/model)
succeeds(--task vowel_removal ${small} --targets 0.5 --policies learned --model learned@0.5=${model} --out loaded)
expect_rows(loaded 1)
expect_in_row(loaded 0 steps "^0$")
file(STRINGS ${WORK_DIR}/straight/rows.jsonl lines)
foreach(line IN LISTS lines)
  if(line MATCHES "\"policy\":\"learned\",\"target\":0.5,\"seed\":1,")
    string(JSON bits GET "${line}" bits_per_byte_hard)
    expect_in_row(loaded 0 bits_per_byte_hard "^${bits}$")
  endif()
endforeach()

# A run begins with the weights of another model; at step 0 the learning rate is 0, so after one step they are those still.
file(GLOB twin ${WORK_DIR}/straight/runs/ungated-0-seed1-*/model)
succeeds(--task vowel_removal ${small} --steps 1 --targets 0.5 --policies learned --gate-noise gumbel --gate-open-until 0
         --from ${twin} --out continued)
foreach(line IN LISTS lines)
  if(line MATCHES "\"policy\":\"ungated\",\"target\":0,\"seed\":1,")
    string(JSON bits GET "${line}" bits_per_byte_none)
    expect_in_row(continued 0 bits_per_byte_none "^${bits}$")
  endif()
endforeach()
succeeds(--task vowel_removal ${small} --steps 1 --targets 0.5 --policies boundary,strided --from ${twin} --out pooled)
expect_rows(pooled 2)

# A gate that has no place stays behind: the same weights without it, and with another gate.
file(GLOB gated ${WORK_DIR}/straight/runs/learned-0.5-seed1-*/model)
succeeds(--task vowel_removal ${small} --steps 1 --targets 0,0.5 --policies learned,random,strided --from ${gated}
         --out ungated)
expect_rows(ungated 4)
foreach(line IN LISTS lines)
  if(line MATCHES "\"policy\":\"learned\",\"target\":0.5,\"seed\":1,")
    string(JSON bits GET "${line}" bits_per_byte_none)
    foreach(number IN ITEMS 0 1 2)
      expect_in_row(ungated ${number} bits_per_byte_none "^${bits}$")
    endforeach()
    string(JSON bits GET "${line}" bits_per_byte_hard)
    expect_in_row(ungated 1 bits_per_byte_hard "^${bits}$")
  endif()
endforeach()

# How a gate is trained matters only to runs that have one.
succeeds(--task vowel_removal ${small} --targets 0,0.5 --policies learned,random,strided --gate-open-until 0
         --hard-rates 0.2,0.7 --out gates)
expect_rows(gates 4)
succeeds(--task vowel_removal ${small} --targets 0,0.5 --policies learned,random,strided --gate-open-until 0
         --hard-by-threshold --kp 1 --out gates)
expect_rows(gates 5)
succeeds(--task vowel_removal ${small} --targets 0,0.5 --policies learned,random,strided --gate-open-until 1
         --hard-by-threshold --kp 1 --out gates)
expect_rows(gates 7)

# ---- Every kind of data ----

string(REPEAT "Deep in the wood a merganser dives for its supper.\nIt is cold.\n" 20 prose)
string(REPEAT "Τι κάνεις;\nΚαλά.\n" 20 greek)
string(REPEAT "one\teins\ntwo\tzwei\nthree\tdrei\n" 5 pairs)
string(REPEAT "bird\ta merganser\nfish\ta herring\nbird\ta gull\n" 5 labels)
foreach(name IN ITEMS prose greek)
  file(WRITE ${WORK_DIR}/${name}.txt "${${name}}")
endforeach()
foreach(name IN ITEMS pairs labels)
  file(WRITE ${WORK_DIR}/${name}.tsv "${${name}}")
endforeach()
set(curve ${small} --steps 12 --targets 0,0.5)

succeeds(--text prose.txt --valid prose.txt ${curve} --task span_corruption --policies learned,strided --out text)
expect_rows(text 3)
expect_in_row(text 2 policy "^strided$")
expect_in_row(text 2 deletion_rate "^0\\.4|^0\\.5$")

# The control at target 1 reads no source: in no mode, whatever a gate would do.
succeeds(--text en=prose.txt el=greek.txt ${small} --steps 12 --targets 0,0.5,1 --policies learned --out control)
expect_rows(control 3)
expect_in_row(control 2 policy "^all_deleted$")
expect_in_row(control 2 target "^1")
expect_in_row(control 2 deletion_rate "^1")
expect_in_row(control 2 total_ms_hard "^$")
expect_charts(control bits_by_rate.svg languages.svg)
file(STRINGS ${WORK_DIR}/control/rows.jsonl lines)
list(GET lines 2 line)
string(JSON bits GET "${line}" bits_per_byte_everything)
foreach(mode IN ITEMS none soft hard hard_reference)
  expect_in_row(control 2 bits_per_byte_${mode} "^${bits}$")
endforeach()
list(GET lines 0 line)
string(JSON twin_bits GET "${line}" bits_per_byte_everything)
if(bits STREQUAL twin_bits OR NOT out MATCHES "\nall_deleted ")
  report_failure("should train the control and show it")
endif()
file(GLOB model ${WORK_DIR}/control/runs/all_deleted-1-seed1-*/model)
succeeds(--text prose.txt ${small} --targets 1 --model all_deleted@1=${model} --out loaded_control)
expect_in_row(loaded_control 0 deletion_rate "^1")

succeeds(--tsv pairs.tsv ${curve} --policies boundary,fixed --out pairs)
expect_rows(pairs 3)
succeeds(--labels labels.tsv ${curve} --out labels)
expect_rows(labels 6)
expect_in_row(labels 0 class_accuracy_hard "^[01]")
expect_in_row(labels 0 sequence_accuracy_hard "^$")
expect_charts(labels accuracy_by_rate.svg controller.svg)

# A classifier may begin with the embedding and the encoder of a model that writes.
foreach(start IN ITEMS fresh trained)
  set(from "")
  if(start STREQUAL "trained")
    set(from --from ${twin})
  endif()
  succeeds(--labels labels.tsv ${small} --steps 1 --targets 0.5 --policies learned,strided ${from} --out ${start}_labels)
  expect_rows(${start}_labels 2)
  file(STRINGS ${WORK_DIR}/${start}_labels/rows.jsonl lines)
  list(GET lines 0 line)
  string(JSON ${start}_bits GET "${line}" bits_per_byte_everything)
  string(JSON ${start}_bits_none GET "${line}" bits_per_byte_none)
endforeach()
if(NOT fresh_bits STREQUAL trained_bits OR fresh_bits_none STREQUAL trained_bits_none)
  report_failure("--from should change what a classifier reads and nothing else: ${fresh_bits} and ${trained_bits}, ${fresh_bits_none} and ${trained_bits_none}")
endif()
# Sizes need not be given again, and cannot be others.
succeeds(--labels labels.tsv --windows 8 --steps 1 --targets 0.5 --policies learned --gate-block 1 --batch 4
         --from ${twin} --out sizes_of_the_directory)
file(STRINGS ${WORK_DIR}/sizes_of_the_directory/rows.jsonl lines)
string(JSON bits_none GET "${lines}" bits_per_byte_none)
if(NOT bits_none STREQUAL trained_bits_none OR NOT err MATCHES "learned 0.5 seed 1: gate: learned at block 1, where ")
  report_failure("should have the sizes of the directory, and say what differs: ${bits_none}, not ${trained_bits_none}")
endif()
run(--labels labels.tsv --windows 8 --steps 1 --width 24 --from ${twin} --out other_sizes)
if(exit_code STREQUAL "0" OR NOT err MATCHES "--width: got 24, expected 16 or nothing")
  report_failure("should say which option names another size")
endif()

succeeds(--text en=prose.txt el=greek.txt ${curve} --policies learned,random --reference en --out languages)
expect_rows(languages 3)
expect_charts(languages bits_by_rate.svg languages.svg)
expect_in_row(languages 1 premium_spread "^[1-9]")
file(STRINGS ${WORK_DIR}/languages/languages.csv lines)
list(LENGTH lines count)
if(NOT count EQUAL 7 OR NOT out MATCHES "most / least")
  report_failure("should have a line a run and language, and a table of them")
endif()
succeeds(--labels a=labels.tsv b=labels.tsv ${curve} --policies learned --out two_labels)
expect_charts(two_labels languages.svg)

succeeds(--task copy ${small} --targets 0 --budget 0.001 --out timed)
run(--task copy ${small} --targets 0 --budget 0.001 --out timed)
if(NOT err MATCHES "1 runs of [0-9]+ steps, 1 of them done")
  report_failure("should take the steps that it once measured")
endif()

# What cannot be printed is said; the rows are there all the same.
execute_process(COMMAND sh -c "exec \"$0\" \"$@\" > /dev/full" ${COMPRESSION_CURVE} --task copy ${small} --targets 0
                        --steps 1 --out unprinted
                WORKING_DIRECTORY ${WORK_DIR} RESULT_VARIABLE exit_code OUTPUT_VARIABLE out ERROR_VARIABLE err
                INPUT_FILE /dev/null)
if(EXISTS /dev/full AND (NOT exit_code STREQUAL "1" OR NOT err MATCHES "cannot write to standard output\n$"))
  report_failure("should say that nothing could be printed")
endif()

# ---- Mistakes ----

file(WRITE ${WORK_DIR}/broken/rows.jsonl "{}\n{}\n")
fails_with("--out" --task copy)
fails_with("--from nowhere: no model there" --task copy --from nowhere --out none)
fails_with("--hard-rates" --task copy --hard-rates 0.7 --out none)
fails_with("--hard-by-threshold" --task copy --hard-rates 0.2,0.7 --hard-by-threshold --out none)
fails_with("--hard-rates" --task copy --hard-rates 0.7,1.5 --out none)
fails_with("--hard-rates" --task copy --hard-rates 0.2,0.7 --hard-probability 1 --out none)
fails_with("no examples" --out wrong)
fails_with("no_such_file" --text no_such_file --out wrong)
fails_with("there is no policy best" --task copy --policies best --out wrong)
fails_with("--targets" --task copy --targets 1.01 --out wrong)
fails_with("--targets: got x" --task copy --targets x --out wrong)
fails_with("each value once" --task copy --seeds 1,1 --out wrong)
fails_with("--seeds: -1" --task copy --seeds=-1 --out wrong)
fails_with("--budget" --task copy --budget soon --out wrong)
fails_with("need names" --text prose.txt greek.txt --out wrong)
fails_with("two files for en" --text en=prose.txt en=greek.txt --out wrong)
fails_with("no file for el" --text en=prose.txt el=greek.txt --valid en=prose.txt --out wrong)
fails_with("--reference fr" --text en=prose.txt el=greek.txt --reference fr --out wrong)
fails_with("label" --labels labels.tsv --valid pairs.tsv --out wrong)
fails_with("exclude each other" --text prose.txt --tsv pairs.tsv --out wrong)
fails_with("POLICY@TARGET=DIR" --task copy --model nowhere --out wrong)
fails_with("no model there" --task copy --targets 0.5 --model learned@0.5=nowhere --out wrong)
fails_with("none of the runs" --task copy --targets 0.5 --model learned@0.6=nowhere --out wrong)
fails_with("line 1" --task copy --out broken)
