# byte_demo train --from: whatever the directory is, the model that is trained on is the same one. The first step of a
# warm-up has learning rate 0, so a run of one step leaves every figure of evaluate as it was, to the last digit.
#
#   cmake -DBYTE_DEMO=<executable> -DGOLDEN_DIR=<tests/golden> -DWORK_DIR=<scratch folder> -P byte_demo_from_test.cmake
cmake_minimum_required(VERSION 3.24)

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})
include(${CMAKE_CURRENT_LIST_DIR}/byte_demo_commands.cmake)

set(tiny --width 16 --heads 2 --head-width 8 --feed-forward 16 --encoder-blocks 3 --windows 4 --batch 3 --warmup 0)
set(task --task copy --window 12)
set(one_step ${task} --steps 1 --batch 3 --windows 4)

# What evaluate says of a model, but for times.
function(figures model result)
  succeeds(evaluate --model ${model} ${task} --windows 4 --json --threads 1)
  string(REGEX REPLACE "\"(milliseconds|speed_up)\": [^,\n]*" "" out "${out}")
  set(${result} "${out}" PARENT_SCOPE)
endfunction()

# The keys of config.json that decide what a model computes.
function(configuration model result)
  file(READ ${model}/config.json config)
  set(keys "")
  foreach(key IN ITEMS vocab_size d_model d_kv d_ff num_heads num_layers num_decoder_layers feed_forward_proj
                       tie_word_embeddings use_softmax1 dropout_rate layer_norm_epsilon has_absolute_position_embeddings
                       relative_attention_num_buckets relative_attention_max_distance delete_gate_layer deletion_type
                       sigmoid_mask_scale gate_layer_norm
                       pad_token_id eos_token_id decoder_start_token_id)
    string(JSON value ERROR_VARIABLE missing GET "${config}" ${key})
    string(APPEND keys "${key}: ${value}\n")
  endforeach()
  foreach(key IN ITEMS score_bound score_bound_value gate_blocks)
    string(JSON value ERROR_VARIABLE missing GET "${config}" merganser ${key})
    string(APPEND keys "merganser.${key}: ${value}\n")
  endforeach()
  set(${result} "${keys}" PARENT_SCOPE)
endfunction()

# One step from the model with the options leaves it as it is, and says nothing of differences.
function(expect_unchanged model)
  file(REMOVE_RECURSE ${WORK_DIR}/next)
  succeeds(train --from ${model} ${one_step} --save next ${ARGN})
  if(err MATCHES ", where ")
    report_failure("nothing should differ: ${model}")
  endif()
  figures(${model} before)
  figures(next after)
  if(NOT before STREQUAL after)
    report_failure("a step of rate 0 should change nothing: ${model}\n${before}\n${after}")
  endif()
endfunction()

# ---- Every golden directory ----

file(GLOB configs ${GOLDEN_DIR}/*/config.json)
list(LENGTH configs count)
if(count LESS 10)
  message(SEND_ERROR "there should be golden cases in ${GOLDEN_DIR}")
endif()
foreach(config IN LISTS configs)
  cmake_path(GET config PARENT_PATH model)
  expect_unchanged(${model})
  configuration(${model} before)
  configuration(${WORK_DIR}/next after)
  string(REGEX REPLACE "[a-z_.0-9]+: [^\n]*-NOTFOUND\n" "" before "${before}")
  string(REPLACE "\n" ";" lines "${before}")
  foreach(line IN LISTS lines)
    if(NOT after MATCHES "${line}\n")
      report_failure("${model} should keep ${line}, not:\n${after}")
    endif()
  endforeach()
endforeach()

# ---- Models with bounds, several gates, and gates of every kind ----

set(made_soft_cap --score-bound soft_cap --score-bound-value 5)
set(made_normalised --score-bound normalised --score-bound-value 7)
set(made_none --score-bound none --gate-block 0,2)
set(made_noise --gate-noise gumbel --gate-block 1)
set(made_random --gate random --target 0.4)
set(made_fixed --gate fixed --target 0.6 --decoder-blocks 2)
set(made_plain --no-gate)
foreach(name IN ITEMS soft_cap normalised none noise random fixed plain)
  succeeds(train ${task} ${tiny} --steps 3 ${made_${name}} --save made_${name})
  expect_unchanged(made_${name})
  configuration(${WORK_DIR}/made_${name} before)
  configuration(${WORK_DIR}/next after)
  if(NOT before STREQUAL after)
    report_failure("the configuration should stay: made_${name}\n${before}\n${after}")
  endif()
endforeach()

# Options that repeat what the directory has change nothing; a resumed run has the configuration of its checkpoint.
expect_unchanged(made_none --width 16 --heads 2 --encoder-blocks 3 --score-bound none --gate-block 0,2 --gate learned)
set(long --from ${GOLDEN_DIR}/mrt5_relu_tied ${task} --batch 3 --windows 4 --steps 9)
succeeds(train ${long} --save straight)
succeeds(train ${long} --save saved --checkpoints run --checkpoint-every 4)
file(REMOVE_RECURSE ${WORK_DIR}/run/step-00000008 ${WORK_DIR}/run/step-00000009)
succeeds(train --resume run --save resumed)
foreach(name IN ITEMS saved resumed)
  file(SHA256 ${WORK_DIR}/straight/model.safetensors one)
  file(SHA256 ${WORK_DIR}/${name}/model.safetensors other)
  if(NOT one STREQUAL other)
    report_failure("${name} should have the weights of the straight run")
  endif()
endforeach()

# ---- What options name changes, and is said ----

macro(differs pattern)
  file(REMOVE_RECURSE ${WORK_DIR}/next)
  succeeds(train ${one_step} --save next ${ARGN})
  expect_match("${err}" "${pattern}")
endmacro()

differs("(^|\n)score bound: soft_cap 3, where made_none has none\n" --from made_none --score-bound soft_cap
        --score-bound-value 3)
differs("(^|\n)score bound: none, where made_soft_cap has soft_cap 5\n" --from made_soft_cap --score-bound none)
differs("(^|\n)score bound: soft_cap 6, where made_soft_cap has soft_cap 5\n" --from made_soft_cap
        --score-bound-value 6)
differs("(^|\n)gate: learned at block 1, where made_none has learned at block 0,2\n" --from made_none --gate-block 1)
differs("(^|\n)gate: none, where made_none has learned at block 0,2\n" --from made_none --no-gate)
differs("(^|\n)gate: learned at block 2, where made_plain has none\n" --from made_plain --gate learned)
differs("(^|\n)gate: random at block 1, where made_noise has learned at block 1\n" --from made_noise --gate random)
differs("(^|\n)gate noise: none, where made_noise has gumbel\n" --from made_noise --gate-noise none)
differs("(^|\n)rate of the gate: 0.7, where made_random has 0.4\n" --from made_random --target 0.7)
differs("(^|\n)gate: learned at block [0-9], where [^ ]*canine has strided pooling at block [0-9]\n"
        --from ${GOLDEN_DIR}/canine --gate learned)

# ---- Mistakes ----

fails_with("--width: got 24, expected 16 or nothing, as the model of --from made_none has" train ${one_step}
           --from made_none --width 24)
fails_with("--decoder-blocks: got 2, expected 1" train ${one_step} --from made_none --decoder-blocks 2)
fails_with("--target: the model of --from made_plain has no gate; --gate learned gives it one" train ${one_step}
           --from made_plain --target 0.5)
fails_with("--gate-block: the model of --from [^ ]*bpt5 has a pooling and no gate" train ${one_step}
           --from ${GOLDEN_DIR}/bpt5 --gate-block 1)
fails_with("--score-bound-value has no effect: there is no bound; --score-bound soft_cap is one" train ${one_step} --from made_none
           --score-bound-value 5)
fails_with("--gate-block: got 3, expected rising block numbers below 3" train ${one_step} --from made_none
           --gate-block 3)
fails_with("nowhere" train ${one_step} --from nowhere)
