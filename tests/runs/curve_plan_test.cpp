#include <merganser/runs/curve_plan.hpp>

#include <algorithm>
#include <string>

#include <support/catch.hpp>

#include "curve_rows.hpp"

namespace curve_plan_test {

using namespace merganser;
using namespace merganser::runs;

CurveOptions small_curve() {
  CurveOptions options;
  options.policies = {"learned", "random", "strided"};
  options.targets = {0.5, 0, 1, 0.25};
  options.seeds = {1, 2};
  return options;
}

const PlannedRun& run_of(const RunPlan& plan, const std::string& policy) {
  return *std::find_if(plan.runs.begin(), plan.runs.end(), [&](const auto& run) { return run.policy == policy; });
}

/// The policies whose runs have other hashes in the two plans.
std::set<std::string> changed(const RunPlan& a, const RunPlan& b) {
  std::set<std::string> policies;
  REQUIRE(a.runs.size() == b.runs.size());
  for (std::size_t i = 0; i < a.runs.size(); ++i) {
    CHECK((a.runs[i].settings == b.runs[i].settings) == (a.runs[i].base == b.runs[i].base));
    if (a.runs[i].settings != b.runs[i].settings) policies.insert(a.runs[i].policy);
  }
  return policies;
}

const std::set<std::string> everything = {"ungated", "all_deleted", "learned", "random", "strided"};

TEST_CASE("A plan has the twin first, then every policy, target and seed", "[runs][curve]") {
  const RunPlan plan = plan_runs(small_curve(), {}, 100);
  std::vector<std::string> names;
  for (const PlannedRun& run : plan.runs)
    if (run.seed == 1) names.push_back(run.name());
  CHECK(names == std::vector<std::string>{"ungated 0 seed 1", "learned 0.5 seed 1", "random 0.5 seed 1",
                                          "strided 0.5 seed 1", "all_deleted 1 seed 1", "learned 0.25 seed 1",
                                          "random 0.25 seed 1"});
  CHECK(plan.runs.size() == 14);
  CHECK(plan.skipped == std::vector<std::string>{"strided comes nowhere near a rate of 0.25"});
  CHECK(plan.runs[0].folder() == "ungated-0-seed1-" + plan.runs[0].settings);
  std::set<std::string> hashes;
  for (const PlannedRun& run : plan.runs) CHECK(hashes.insert(run.settings).second);
  CHECK(run_of(plan, "learned").base == plan.bases.at("learned"));
}

TEST_CASE("What matters to a run tells it apart, and nothing else", "[runs][curve]") {
  const CurveOptions options = small_curve();
  const RunPlan plan = plan_runs(options, {}, 100);
  const auto after = [&](auto change, Index steps = 100) {
    CurveOptions other = options;
    change(other);
    return changed(plan, plan_runs(other, {}, steps));
  };
  CHECK(after([](CurveOptions&) {}).empty());
  CHECK(after([](CurveOptions&) {}, 101) == everything);
  CHECK(after([](CurveOptions& o) { o.train.recipe.batch_size = 3; }) == everything);
  CHECK(after([](CurveOptions& o) { o.train.model.width = 8; }) == everything);
  CHECK(after([](CurveOptions& o) { o.train.recipe.proportional_gain = 3; }) == std::set<std::string>{"learned"});
  CHECK(after([](CurveOptions& o) { o.train.recipe.open_probability = 0.3; }) ==
        std::set<std::string>{"learned", "random"});
  CHECK(after([](CurveOptions& o) { o.train.windows = 7; }).empty());
  CHECK(after([](CurveOptions& o) { o.timing_repetitions = 7; }).empty());
  CHECK(after([](CurveOptions& o) { o.out = "elsewhere"; }).empty());
  CHECK(after([](CurveOptions& o) { o.train.checkpoint_every = 7; }).empty());
  CHECK(after([](CurveOptions& o) { o.train.threads = 7; }).empty());
}

TEST_CASE("An evaluation has a hash of its own", "[runs][curve]") {
  const CurveOptions options = small_curve();
  const Settings contents = {{"content of --text", "a"}, {"content of --valid", "b"}};
  const RunPlan plan = plan_runs(options, contents, 100);
  CurveOptions other = options;
  other.train.windows = 7;
  CHECK(plan_runs(other, contents, 100).evaluation != plan.evaluation);
  other = options;
  other.timing_repetitions = 7;
  CHECK(plan_runs(other, contents, 100).evaluation != plan.evaluation);
  other = options;
  other.train.recipe.batch_size = 7;
  CHECK(plan_runs(other, contents, 100).evaluation == plan.evaluation);

  const RunPlan valid = plan_runs(options, {{"content of --text", "a"}, {"content of --valid", "c"}}, 100);
  CHECK(changed(plan, valid).empty());
  CHECK(valid.evaluation != plan.evaluation);
  CHECK(valid.data != plan.data);
  const RunPlan text = plan_runs(options, {{"content of --text", "x"}, {"content of --valid", "b"}}, 100);
  CHECK(changed(plan, text) == everything);
  CHECK(text.evaluation == plan.evaluation);
  other = options;
  other.train.data.valid = {{"", "file"}};  // nothing is held back to train on
  CHECK(changed(plan, plan_runs(other, contents, 100)) == everything);
}

TEST_CASE("Minutes are measured for settings that decide the time", "[runs][curve]") {
  CurveOptions options = small_curve();
  options.budget.minutes = 2;
  const std::string hash = budget_hash(options, {});
  options.train.windows = 7;
  CHECK(budget_hash(options, {}) == hash);
  options.budget.minutes = 3;
  CHECK(budget_hash(options, {}) != hash);
}

TEST_CASE("A saved model must be one of the runs, and be there", "[runs][curve]") {
  CurveOptions options = small_curve();
  options.models = {{"learned", 0.6, "nowhere"}};
  CHECK_THROWS_WITH(plan_runs(options, {}, 1), "--model learned@0.6 is none of the runs of --policies and --targets");
  options.models = {{"learned", 0.5, "nowhere"}};
  CHECK_THROWS_WITH(plan_runs(options, {}, 1), "--model nowhere: no model there");
}

TEST_CASE("Hashes tell settings apart", "[runs][curve]") {
  const std::string hash = hash_of({{"a", "b"}, {"c", ""}});
  CHECK(hash.size() == 16);
  CHECK(hash == hash_of({{"c", ""}, {"a", "b"}}));
  CHECK(hash != hash_of({{"a", "b"}}));
  CHECK(hash != hash_of({{"a", ""}, {"c", "b"}}));
  CHECK(hash_of({{"ab", "c"}}) != hash_of({{"a", "bc"}}));
  CHECK(hash_of({{"a", "1:b"}}) != hash_of({{"a1", ":b"}}));
}

TEST_CASE("A picture has rows of one base and one evaluation", "[runs][curve]") {
  RunPlan plan;
  plan.bases = {{"learned", "base"}};
  plan.evaluation = "e";
  const std::vector<RunRow> rows = {row_of("1", "e"), row_of("1", "f"), row_of("2", "e")};
  CHECK(rows_of(plan, rows).size() == 2);
  plan.evaluation = "f";
  CHECK(rows_of(plan, rows).size() == 1);
  plan.bases = {{"learned", "other"}, {"random", "base"}};
  CHECK(rows_of(plan, rows).empty());
}

TEST_CASE("A policy by name is measured in the twin of its seed, which is trained whether asked for or not",
          "[runs][curve]") {
  CurveOptions options = small_curve();
  options.policies = {};
  options.named = {"tome", "learned+tome"};
  options.named_policies = [](const std::string&, const models::StackConfig&) {
    return Vector<merge::Placement<float>>{};
  };
  options.targets = {0.5};
  const RunPlan plan = plan_runs(options, {}, 100);
  std::vector<std::string> names;
  for (const PlannedRun& run : plan.runs)
    if (run.seed == 1) names.push_back(run.name());
  CHECK(names == std::vector<std::string>{"ungated 0 seed 1", "tome 0.5 seed 1", "learned+tome 0.5 seed 1"});
  CHECK(run_of(plan, "tome").base != run_of(plan, "learned+tome").base);

  options.named_policies = [](const std::string& name, const models::StackConfig&) -> Vector<merge::Placement<float>> {
    throw std::invalid_argument("got the policy " + name);
  };
  CHECK_THROWS_WITH(plan_runs(options, {}, 100), "--policy: got the policy tome");
  options.named_policies = {};
  CHECK_THROWS_AS(plan_runs(options, {}, 100), std::invalid_argument);

  Index blocks = 0;
  options.named_policies = [&blocks](const std::string&, const models::StackConfig& stack) {
    blocks = stack.blocks;
    return Vector<merge::Placement<float>>{};
  };
  options.named = {"ungated+tome:block=0/1"};
  options.train.model.encoder_blocks = 3;
  CHECK(run_of(plan_runs(options, {}, 100), options.named[0]).folder().starts_with("ungated+tome:block=0.1-0.5-seed1"));
  CHECK(blocks == 3);  // a block that there is not is found out before anything is trained
  options.named = {"all_deleted+tome"};
  CHECK_THROWS_AS(plan_runs(options, {}, 100), std::invalid_argument);
}

}  // namespace curve_plan_test
