#include <merganser/runs/curve_run.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <merganser/runs/policy_catalogue.hpp>

#include <support/catch.hpp>

#include "curve_rows.hpp"

namespace curve_run_test {

using namespace merganser;
using namespace merganser::runs;

CurveOptions small_curve(const CurveFolder& folder) {
  CurveOptions options;
  ModelOptions& model = options.train.model;
  model.width = model.feed_forward = 8;
  model.heads = 2;
  model.head_width = 4;
  model.encoder_blocks = 2;
  model.gate_blocks = {1};
  options.train.recipe.batch_size = 2;
  options.train.windows = 4;
  options.train.data.window = 6;
  options.timing_repetitions = 1;
  options.policies = {"learned"};
  options.targets = {0.5};
  options.out = folder.path.string();
  return options;
}

CurveOptions letters(const CurveFolder& folder) {
  CurveOptions options = small_curve(folder);
  options.train.data.task = "copy";
  return options;
}

CurveOptions labels(const CurveFolder& folder) {
  const std::string file = (folder.path / "labels.tsv").string();
  std::ofstream(file) << "bird\ta gull\nfish\ta carp\nbird\ta teal\nfish\ta tench\n";
  CurveOptions options = small_curve(folder);
  options.train.data.window.reset();
  options.train.data.labels = {{"", file}};
  return options;
}

/// The row of the first run of a curve of 12 steps.
RunRow first_row(const CurveOptions& options, const RunRow* trained = nullptr) {
  const TrainingData data = open_curve_data(options, 1);
  const RunPlan plan = plan_runs(options, data.contents, 12);
  std::ostringstream out;
  StatusLine line(out, [] { return std::nullopt; });
  TrainingProgress progress(line);
  return make_row({options, plan, data, 12, std::filesystem::path(options.out) / "runs", line, progress},
                  plan.runs.front(), trained);
}

std::filesystem::path model_of(const RunRow& row, const CurveFolder& folder) {
  return folder.path / "runs" / ("learned-0.5-seed1-" + row.settings) / "model";
}

/// The figures that neither the clock nor the system decides.
void check_same_figures(const RunRow& a, const RunRow& b) {
  CHECK(a.settings == b.settings);
  CHECK(a.none.bits_per_byte == b.none.bits_per_byte);
  CHECK(a.hard.bits_per_byte == b.hard.bits_per_byte);
  CHECK(a.hard.deletion_rate == b.hard.deletion_rate);
  CHECK(a.late_rate == b.late_rate);
  CHECK(a.steps == b.steps);
}

void check_measured_again(const CurveOptions& options, const CurveFolder& folder) {
  const RunRow row = first_row(options);
  CHECK(row.steps == 12);
  CHECK(row.parameters > 0);
  CHECK(row.policy == "learned");
  CHECK(std::filesystem::exists(model_of(row, folder).parent_path() / trace_file_name));
  RunRow marked = row;
  marked.seconds = -1;
  check_same_figures(first_row(options, &marked), row);
  CHECK(first_row(options, &marked).seconds == -1);  // not trained again

  CurveOptions other = options;
  other.train.windows = 1;
  const RunRow again = first_row(other, &marked);
  CHECK(again.seconds == -1);
  CHECK(again.sequences == 1);
  CHECK(again.origin.evaluation != row.origin.evaluation);

  std::filesystem::remove_all(model_of(row, folder).parent_path());
  const RunRow trained = first_row(options, &marked);
  CHECK(trained.seconds >= 0);
  check_same_figures(trained, row);
}

TEST_CASE("A trained model is measured again without training, unless it is gone", "[runs][curve]") {
  const CurveFolder folder("curve_run");
  check_measured_again(letters(folder), folder);
}

TEST_CASE("So is a classifier", "[runs][curve]") {
  const CurveFolder folder("curve_run_labels");
  check_measured_again(labels(folder), folder);
}

TEST_CASE("A row says where it comes from", "[runs][curve]") {
  const CurveFolder folder("curve_run_origin");
  const RunRow row = first_row(letters(folder));
  CHECK(row.task == "copy");
  CHECK(row.origin.version == MERGANSER_VERSION);
  CHECK(row.origin.instruction_set == instruction_set);
  CHECK(row.origin.date.size() == 10);
  CHECK(row.origin.date[4] == '-');
  CHECK(row.origin.options.at("--task") == "copy");
  CHECK(row.origin.options.at("--windows") == "4");
}

TEST_CASE("A saved model takes the place of a run", "[runs][curve]") {
  const CurveFolder folder("curve_run_saved");
  CurveOptions options = letters(folder);
  const RunRow row = first_row(options);
  options.models = {{"learned", 0.5, model_of(row, folder).string()}};
  const RunRow loaded = first_row(options);
  CHECK(loaded.steps == 0);
  CHECK(loaded.settings != row.settings);
  CHECK(loaded.hard.bits_per_byte == row.hard.bits_per_byte);

  CurveOptions classes = labels(folder);
  classes.models = options.models;
  CHECK_THROWS_WITH(first_row(classes), "--model: a saved classifier cannot be loaded");
}

TEST_CASE("The steps that fit into a time", "[runs][curve]") {
  const CurveFolder folder("curve_run_budget");
  CurveOptions options = letters(folder);
  options.budget.minutes = 1e-6;
  CHECK(steps_in_budget(options, open_curve_data(options, 1)) == 1);
}

TEST_CASE("A policy by name is measured in the trained twin, at the rate of its target", "[runs][curve]") {
  for (const bool classes : {false, true}) {
    const CurveFolder folder(classes ? "named_classes" : "named_texts");
    CurveOptions options = classes ? labels(folder) : letters(folder);
    options.policies = {};
    options.named = {"local_merging:block=1"};
    options.named_policies = named_policies;
    const TrainingData data = open_curve_data(options, 1);
    const RunPlan plan = plan_runs(options, data.contents, 12);
    REQUIRE(plan.runs.size() == 2);
    std::ostringstream out;
    StatusLine line(out, [] { return std::nullopt; });
    TrainingProgress progress(line);
    const CurveWorkplace place{options, plan, data, 12, folder.path / "runs", line, progress};
    CHECK_THROWS_AS(make_row(place, plan.runs[1], nullptr), IoError);  // before the twin
    const RunRow twin = make_row(place, plan.runs[0], nullptr), row = make_row(place, plan.runs[1], nullptr);
    CHECK(row.policy == "local_merging:block=1");
    CHECK(row.none.bits_per_byte == twin.none.bits_per_byte);
    CHECK(row.hard.deletion_rate > 0.3);
    CHECK(row.hard.deletion_rate < 0.6);
    CHECK(row.hard.bits_per_byte != row.none.bits_per_byte);
    CHECK(row.policy_ms_hard >= 0);
    CHECK(row.parameters == twin.parameters);
    CHECK(row.steps == 0);
  }
}

TEST_CASE("A policy by name is trained with a gate behind it", "[runs][curve]") {
  const CurveFolder folder("named_trained");
  CurveOptions options = letters(folder);
  options.policies = {};
  options.named = {"learned+local_merging:block=0,rate=0.25"};
  options.named_policies = named_policies;
  const RunRow row = first_row(options);
  CHECK(row.policy == "learned+local_merging:block=0,rate=0.25");
  CHECK(row.steps == 12);
  const auto folders = std::filesystem::directory_iterator(folder.path / "runs");
  const auto model = folders->path() / "model";
  const auto loaded = [&] {
    io::LoadModelOptions loading;
    loading.named_policies = named_policies;
    return io::load_model<float>(model.string(), loading);
  }();
  REQUIRE(loaded.encoder.policies.size() == 2);
  CHECK(loaded.encoder.policies[0].name == "local_merging:block=0,rate=0.25");
  CHECK(loaded.encoder.policies[1].policy.traits().is_gate);
  CHECK_THROWS_AS(io::load_model<float>(model.string()), IoError);  // nobody knows the name

  // A run that starts from it has the policies that it asks for, and no others.
  CurveOptions next = letters(folder);
  next.out += "_next";
  next.named_policies = named_policies;
  next.train.model = {};
  next.train.model.start_from = model.string();
  const RunRow fresh = first_row(next);
  const auto place = std::filesystem::path(next.out) / "runs" / ("learned-0.5-seed1-" + fresh.settings) / "model";
  CHECK(io::load_model<float>(place.string()).encoder.policies.size() == 1);
  std::filesystem::remove_all(next.out);
}

}  // namespace curve_run_test
