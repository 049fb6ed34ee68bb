// Every golden vector of the policies: in float and in double, indices exactly, numbers within the stated tolerances.
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "golden_merge/fusion_family.hpp"
#include "golden_merge/golden_merge.hpp"
#include "golden_merge/learned_family.hpp"
#include "golden_merge/mrt5_family.hpp"
#include "golden_merge/ranking_family.hpp"
#include "golden_merge/recovery_family.hpp"
#include "golden_merge/segment_family.hpp"
#include "golden_merge/selection_family.hpp"
#include "golden_merge/tome_family.hpp"
#include "support/catch.hpp"

namespace merganser::testing {
namespace golden_merge_test {

/// What a case of a prefix is compared by.
struct Check {
  void (*in_float)(MergeCase<float>&);
  void (*in_double)(MergeCase<double>&);
};

const std::map<std::string, Check> checks = {
    {"ats", {ats<float>, ats<double>}},
    {"attn_topk", {attn_topk<float>, attn_topk<double>}},
    {"avit_halt", {avit_halt<float>, avit_halt<double>}},
    {"blt_entropy", {blt_entropy<float>, blt_entropy<double>}},
    {"byte_space_patch", {byte_space_patch<float>, byte_space_patch<double>}},
    {"canine_down", {canine_down<float>, canine_down<double>}},
    {"cif", {cif<float>, cif<double>}},
    {"diffrate", {diffrate<float>, diffrate<double>}},
    {"diffrate_block", {diffrate_block<float>, diffrate_block<double>}},
    {"diffrate_proxy", {diffrate_proxy<float>, diffrate_proxy<double>}},
    {"dynamicvit", {dynamicvit<float>, dynamicvit<double>}},
    {"dynpool", {dynpool<float>, dynpool<double>}},
    {"dynpool_boundary", {dynpool_boundary<float>, dynpool_boundary<double>}},
    {"expedit", {expedit<float>, expedit<double>}},
    {"funnel_pool", {funnel_pool<float>, funnel_pool<double>}},
    {"gbst", {gbst<float>, gbst<double>}},
    {"hnet", {hnet<float>, hnet<double>}},
    {"hot_tpc", {hot_tpc<float>, hot_tpc<double>}},
    {"hot_tra", {hot_tra<float>, hot_tra<double>}},
    {"ltp", {ltp<float>, ltp<double>}},
    {"mctf", {mctf<float>, mctf<double>}},
    {"mrt5_gate", {mrt5_gate<float>, mrt5_gate<double>}},
    {"mrt5_pi", {mrt5_pi<float>, mrt5_pi<double>}},
    {"pitome_text", {pitome_text<float>, pitome_text<double>}},
    {"pitome_vision", {pitome_vision<float>, pitome_vision<double>}},
    {"segment_pool", {segment_pool<float>, segment_pool<double>}},
    {"tofu", {tofu<float>, tofu<double>}},
    {"tome_block", {tome_block<float>, tome_block<double>}},
    {"tome_bsm", {tome_bsm<float>, tome_bsm<double>}},
    {"tome_kth", {tome_kth<float>, tome_kth<double>}},
    {"tome_parse_r", {tome_parse_r<float>, tome_parse_r<double>}},
    {"tome_random", {tome_random<float>, tome_random<double>}},
    {"zero_tprune", {zero_tprune<float>, zero_tprune<double>}},
};

/// Systems that the library does not have yet. One that it has gets a check and leaves this list.
const std::set<std::string> waiting = {
    "keyformer",
};

/// "tome_bsm" of "tome_bsm_00.safetensors".
std::string prefix_of(const std::filesystem::path& file) {
  const std::string stem = file.stem().string();
  return stem.substr(0, stem.find_last_of('_'));
}

template <Real Scalar>
void check_file(const std::filesystem::path& path, void (*check)(MergeCase<Scalar>&)) {
  MergeCase<Scalar> c(path);
  check(c);
  for (const std::string& miss : c.misses()) FAIL_CHECK(path.filename().string() << ": " << miss);
  CHECK(c.compared() > 0);
}

TEST_CASE("the golden vectors of policies", "[golden_merge]") {
  std::set<std::string> seen;
  for (const auto& entry : std::filesystem::directory_iterator(golden_merge_dir())) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string prefix = prefix_of(entry.path());
    seen.insert(prefix);
    CAPTURE(entry.path().filename().string());
    if (waiting.count(prefix) != 0) continue;
    const auto check = checks.find(prefix);
    if (check == checks.end()) {
      FAIL_CHECK("a prefix without a check: " << prefix);
      continue;
    }
    check_file<float>(entry.path(), check->second.in_float);
    check_file<double>(entry.path(), check->second.in_double);
  }
  CHECK_FALSE(seen.empty());
  for (const auto& [prefix, check] : checks) {
    CHECK(waiting.count(prefix) == 0);
    if (golden_merge_dir() == MERGANSER_GOLDEN_MERGE_DIR) CHECK(seen.count(prefix) == 1);  // a check without a file
  }
}

}  // namespace golden_merge_test
}  // namespace merganser::testing
