# byte_demo --policy: policies by name in a loaded model, in training, and in the directories that are saved.
#
#   cmake -DBYTE_DEMO=<executable> -DBUNDLED_MODEL=<examples/model> -DWORK_DIR=<scratch folder> -P byte_demo_policies_test.cmake
cmake_minimum_required(VERSION 3.24)

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})
include(${CMAKE_CURRENT_LIST_DIR}/byte_demo_commands.cmake)

set(text "We hold these truths to be self-evident.")

function(expect_deleted low high)
  succeeds(show --model ${BUNDLED_MODEL} --json "${text}" ${ARGN})
  string(JSON rate GET "${out}" deletion_rate)
  if(rate LESS low OR rate GREATER high)
    report_failure("a rate from ${low} to ${high} was expected, got ${rate}: ${ARGN}")
  endif()
endfunction()

# ---- In a loaded model ----

expect_deleted(0.45 0.55 --policy local_merging --target 0.5)
expect_deleted(0.2 0.3 --policy local_merging:block=1,rate=0.25)
expect_deleted(0.6 0.75 --policy local_merging:block=0/1/2 --target 0.7)
expect_deleted(0.45 0.55 --policy attention_top_k:score=class_token --target 0.5)
expect_deleted(0.45 0.55 --policy random_deletion --target 0.5)
expect_deleted(0.3 0.8 --policy local_merging:block=1,rate=0.25 --policy own)
fails_with("policy tome: nothing says how much goes; expected one of the settings rate, tokens"
           show --model ${BUNDLED_MODEL} x --policy tome)
succeeds(show --model ${BUNDLED_MODEL} "${text}" --policy tome --target 0.7)
expect_match("${err}" "warning: --target 0.7: [45][0-9.]* % is what the model's policies delete of this text")
succeeds(show --model ${BUNDLED_MODEL} "${text}" --policy channel_fold)
expect_match("${err}" "warning: policy channel_fold is one that a model is trained with, and this one was not")
succeeds(generate --model ${BUNDLED_MODEL} "${text}" --policy tofu --target 0.2 --max-length 12)
succeeds(evaluate --model ${BUNDLED_MODEL} --task denoise --text ${BUNDLED_MODEL}/config.json --windows 4 --policy mctf --target 0.3 --json)
fails_with("policy nix: there is none of this name; there are adaptive_sampling, " show --model ${BUNDLED_MODEL} x --policy nix)
fails_with("policy tome: got the setting k=2, expected KEY=VALUE, of block, at, size_bias, rate, tokens"
           show --model ${BUNDLED_MODEL} x --policy tome:k=2)
fails_with("--policy excludes --rate" show --model ${BUNDLED_MODEL} x --policy tome --rate 0.3)
fails_with("policy tome: block: got 77, expected block numbers below " show --model ${BUNDLED_MODEL} x --policy tome:block=77)
fails_with("has other policies and no gate" show --model ${BUNDLED_MODEL} x --policy tome:rate=0.2 --threshold -3)

# ---- In training, and saved ----

set(small --width 16 --heads 2 --head-width 8 --feed-forward 16 --encoder-blocks 3 --steps 2 --windows 3 --batch 2)
succeeds(train --task copy ${small} --policy local_merging:block=1,rate=0.25 --policy dynamicvit:block=1 --save both)
file(READ ${WORK_DIR}/both/config.json config)
string(JSON first GET "${config}" merganser policies 0)
string(JSON second GET "${config}" merganser policies 1)
expect_match("${first} ${second}" "^local_merging:block=1,rate=0.25 dynamicvit:block=1$")
succeeds(evaluate --model both --task copy --windows 4 --json)
string(JSON rate GET "${out}" hard deletion_rate)
if(rate LESS 0.2)
  report_failure("the saved model should merge, got ${rate}")
endif()
succeeds(train --from both --task copy --steps 1 --windows 3 --batch 2 --save next)
file(READ ${WORK_DIR}/next/config.json again)
string(JSON first GET "${again}" merganser policies 0)
expect_match("${first}" "^local_merging:block=1,rate=0.25$")
file(READ ${WORK_DIR}/both/config.json config)
string(REPLACE "local_merging:" "no_such_policy:" config "${config}")
file(WRITE ${WORK_DIR}/both/config.json "${config}")
fails_with("both/config.json: model: got policy no_such_policy: there is none of this name; there are "
           evaluate --model both --task copy --windows 4)
