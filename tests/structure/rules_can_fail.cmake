# The rules of this folder find what they are for: each is run on a small tree that keeps them all, then on trees with
# one fault.
#   cmake -DSCRATCH=<folder> -P rules_can_fail.cmake
cmake_minimum_required(VERSION 3.24)

set(tree ${SCRATCH}/tree)

function(write_good_tree)
  file(REMOVE_RECURSE ${tree})
  file(WRITE ${tree}/include/merganser/version.hpp "// The version.\n#pragma once\n")
  file(WRITE ${tree}/include/merganser/core/instruction_set.hpp "// The macro.\n#pragma once\n")
  file(WRITE ${tree}/include/merganser/core/a.hpp
       "// a.\n#pragma once\n#include <vector>\n#include <merganser/core/instruction_set.hpp>\n"
       "#include <merganser/version.hpp>\nnamespace merganser::inline MERGANSER_ISA {\n")
  file(WRITE ${tree}/include/merganser/nn/b.hpp "// b.\n#pragma once\n#include <merganser/core/a.hpp>\n")
  file(WRITE ${tree}/include/merganser/io/c.hpp
       "// c.\n#pragma once\n#include <nlohmann/json.hpp>\n#include <merganser/nn/b.hpp>\n")
  file(WRITE ${tree}/include/merganser/runs/d.hpp "// d.\n#pragma once\n#include <merganser/io/c.hpp>\n")
  file(WRITE ${tree}/include/merganser/merganser.hpp "// All.\n#pragma once\n#include <merganser/core/a.hpp>\n"
       "#include <merganser/core/instruction_set.hpp>\n#include <merganser/nn/b.hpp>\n#include <merganser/version.hpp>\n")
  file(WRITE ${tree}/examples/e.cpp "int main() {\n  const int a[] = {1, 2};\n  return a[0];\n}\n")
  file(WRITE ${tree}/docs/policies.md "No policies.\n")
  file(WRITE ${tree}/docs/first_steps.md "See [e](../examples/e.cpp):\n\n```cpp\nreturn a[0];\n```\n")
  file(WRITE ${tree}/README.md "See [e](examples/e.cpp):\n\n```cpp\nconst int a[] = {1, 2};  // two\nreturn a[0];\n```\n")
  foreach(test IN ITEMS core/a core/instruction_set nn/b io/c runs/d)
    file(WRITE ${tree}/tests/${test}_test.cpp "")
  endforeach()
endfunction()

function(expect rule verdict)
  execute_process(COMMAND ${CMAKE_COMMAND} -DROOT=${tree} -P ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${rule}.cmake
                  RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE said)
  if(verdict STREQUAL "pass" AND NOT status EQUAL 0)
    message(SEND_ERROR "${rule} fails on a good tree:\n${said}")
  elseif(verdict STREQUAL "fail" AND status EQUAL 0)
    message(SEND_ERROR "${rule} passes a tree with the fault: ${ARGN}")
  endif()
endfunction()

function(expect_include_fault header line)
  write_good_tree()
  file(APPEND ${tree}/include/merganser/${header} "${line}\n")
  expect(room_includes fail ${header} ${line})
endfunction()

write_good_tree()
foreach(rule IN ITEMS room_includes header_tests header_lengths policy_pages umbrella readme_examples)
  expect(${rule} pass)
endforeach()

string(REPEAT "//\n" 300 filler)
file(APPEND ${tree}/include/merganser/core/a.hpp "${filler}")
expect(header_lengths fail more than 300 lines)
write_good_tree()
foreach(policy IN ITEMS one two)
  file(WRITE ${tree}/include/merganser/merge/policies/${policy}.hpp
       "// ${policy}.\n#pragma once\n#include <merganser/core/a.hpp>\n")
endforeach()
expect(room_includes pass)
expect(policy_pages fail policies without a row)
set(head "| header | is |\n|---|---|\n| `one` | 1 |\n")
file(WRITE ${tree}/docs/policies.md "${head}| `two` | 2 |\n")
expect(policy_pages pass)
foreach(row IN ITEMS "| `two` | 2 | 3 |" "| `two` | |" "| `two` | 2 |\n| `three` | 3 |")
  file(WRITE ${tree}/docs/policies.md "${head}${row}\n")
  expect(policy_pages fail ${row})
endforeach()
file(APPEND ${tree}/include/merganser/merge/policies/two.hpp "#include <merganser/merge/policies/one.hpp>\n")
expect(room_includes fail a policy that includes another)
write_good_tree()

file(APPEND ${tree}/include/merganser/core/a.hpp "#if MERGANSER_COMPILED\n#include <merganser/nn/b.hpp>\n#endif\n")
expect(room_includes pass)
expect_include_fault(core/a.hpp "#include <merganser/nn/b.hpp>")
expect_include_fault(core/a.hpp "  #  include <merganser/nn/b.hpp>")
expect_include_fault(nn/b.hpp "#include <merganser/io/c.hpp>")
expect_include_fault(io/c.hpp "#include <merganser/runs/d.hpp>")
expect_include_fault(runs/d.hpp "#include <nlohmann/json.hpp>")
expect_include_fault(nn/b.hpp "#include <merganser/core/gone.hpp>")
expect_include_fault(nn/b.hpp "#include \"a.hpp\"")
expect_include_fault(nn/b.hpp "#include <nlohmann/json.hpp>")
expect_include_fault(io/c.hpp "#include <CLI/CLI.hpp>")
expect_include_fault(io/c.hpp "#include <merganser/merganser.hpp>")
expect_include_fault(nn/b.hpp "namespace merganser::nn {")
expect_include_fault(nn/b.hpp "namespace merganser {")
expect_include_fault(nn/b.hpp "  return Eigen::internal::padd(a, b);")

write_good_tree()
file(WRITE ${tree}/include/merganser/core/a.hpp "// a.\n#pragma once\nnamespace merganser::inline MERGANSER_ISA {\n")
expect(room_includes fail "core/a.hpp never sees the macro")

write_good_tree()
file(WRITE ${tree}/include/merganser/core/d.hpp "// No guard.\n")
expect(room_includes fail "no #pragma once")
expect(header_tests fail "no test of core/d.hpp")
expect(umbrella fail "core/d.hpp not in the umbrella")

write_good_tree()
file(WRITE ${tree}/include/merganser/attic/d.hpp "// d.\n#pragma once\n")
expect(room_includes fail "an unknown room")

write_good_tree()
file(APPEND ${tree}/include/merganser/merganser.hpp "#include <merganser/io/c.hpp>\n")
expect(umbrella fail "io in the umbrella")

write_good_tree()
file(WRITE ${tree}/include/merganser/merganser.hpp "// All.\n#pragma once\n#include <merganser/nn/b.hpp>\n"
     "#include <merganser/core/a.hpp>\n#include <merganser/core/instruction_set.hpp>\n#include <merganser/version.hpp>\n")
expect(umbrella fail "not sorted")

write_good_tree()
file(WRITE ${tree}/examples/e.cpp "int main() {\n  const int a[] = {1, 3};\n  return a[0];\n}\n")
expect(readme_examples fail "a line that the example does not have")
file(REMOVE ${tree}/examples/e.cpp)
expect(readme_examples fail "an example that is gone")

write_good_tree()
file(WRITE ${tree}/docs/building.md "See [e](../examples/e.cpp):\n\n```cpp\nreturn a[1];\n```\n")
expect(readme_examples fail "a line of a page that the example does not have")

file(REMOVE_RECURSE ${tree})
