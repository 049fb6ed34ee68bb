// A trained model on a text: time and quality without deletion, with soft and with hard deletion.
//
//   MERGANSER_MODEL=DIR MERGANSER_TEXT=FILE [MERGANSER_TASK=span_corruption] [MERGANSER_WINDOW=256] trained_bench
//
// DIR is a model directory, such as compression_curve and byte_demo train --save leave; task and window are those of
// byte_demo evaluate. Beside the counters of every program here there are `deletion_rate`, `bits_per_byte` (of the
// target, for each byte of the source) and `token_accuracy`.
#include <charconv>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/data/batcher.hpp>
#include <merganser/evaluation/evaluate.hpp>
#include <merganser/evaluation/predicted_cost.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/runs/model_design.hpp>
#include <merganser/runs/training_data.hpp>

#include "measure/benchmark_program.hpp"
#include "measure/program.hpp"

namespace {

using namespace merganser;
using namespace merganser::bench;
using merge::DeletionMode;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string required_variable(const char* name, const char* what) {
  std::string value = variable(name);
  if (value.empty()) throw std::invalid_argument(std::string("set ") + name + " to " + what);
  return value;
}

/// A model and what it is measured on.
struct Subject {
  runs::TextModel model;
  std::vector<data::Batch> batches;
};

Subject read_subject() {
  const std::string directory = required_variable("MERGANSER_MODEL", "a model directory");
  runs::DataOptions options;
  options.texts = {{"", required_variable("MERGANSER_TEXT", "a text of any bytes")}};
  options.task = variable("MERGANSER_TASK");
  if (const std::string window = variable("MERGANSER_WINDOW"); !window.empty()) {
    Index bytes = 0;
    const auto [end, error] = std::from_chars(window.data(), window.data() + window.size(), bytes);
    if (error != std::errc() || end != window.data() + window.size() || bytes < 1)
      throw std::invalid_argument("MERGANSER_WINDOW: got " + window + ", expected a number of bytes, at least 1");
    options.window = bytes;
  }
  constexpr Index windows = 64;
  constexpr std::uint64_t seed = 1;
  Subject subject{io::load_for_inference<float>(directory),
                  data::make_batches(runs::open_evaluation_data(options, windows, seed))};
  runs::check_reads_bytes(subject.model.config(), directory);
  return subject;
}

void add_mode(const std::string& name, DeletionMode mode, int threads, const std::shared_ptr<const Subject>& subject) {
  add_case("BM_Trained/deletion:" + name + "/threads:" + std::to_string(threads), [=](benchmark::State& state) {
    const std::span<const data::Batch> batches(subject->batches);
    Rng rng(1);  // of a gate that deletes at random
    runs::TextModel::ForwardOptions options;
    options.rng = &rng;
    options.deletion.mode = mode;
    const evaluation::EvaluationResult quality = evaluation::evaluate(subject->model, batches, options);
    const merganser::evaluation::PredictedCost cost = merganser::evaluation::predict_cost(
        subject->model, std::span<const merganser::data::Batch>(subject->batches), options);
    Meter meter(state, threads, false);
    for (auto _ : state) evaluation::timed_pass(subject->model, batches, options, [](const auto&...) {});
    meter.finish({.flops = mode == DeletionMode::hard ? cost.with : cost.without,
                  .text_bytes = static_cast<double>(quality.source_bytes),
                  .kept = 1 - quality.deletion_rate});
    state.counters["deletion_rate"] = quality.deletion_rate;
    state.counters["bits_per_byte"] = quality.bits_per_byte;
    state.counters["token_accuracy"] = quality.token_accuracy;
  });
}

void add_cases(Selection) {
  const auto subject = std::make_shared<const Subject>(read_subject());
  for (const int threads : {1, 2}) {
    add_mode("none", DeletionMode::none, threads, subject);
    add_mode("soft", DeletionMode::soft, threads, subject);
    add_mode("hard", DeletionMode::hard, threads, subject);
  }
}

}  // namespace

int bench_program(int argc, char** argv) {
  try {
    return run_program(argc, argv, add_cases);
  } catch (const std::exception& error) {
    std::cerr << "trained_bench: " << error.what() << std::endl;
    return 1;
  }
}
