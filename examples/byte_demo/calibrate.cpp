// byte_demo calibrate: the table from which --rate and --milliseconds-per-kilobyte take their threshold.
#include <filesystem>
#include <iostream>
#include <span>

#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/evaluation/calibrate.hpp>
#include <merganser/io/calibration_file.hpp>

#include <comparison.hpp>
#include <corpus.hpp>
#include <model.hpp>
#include <model_task.hpp>
#include <options.hpp>
#include <predicted_cost.hpp>
#include <terminal.hpp>

namespace byte_demo {

namespace io = merganser::io;

namespace {

void print_table(const evaluation::Calibration& calibration, const std::string& file) {
  std::cout << right("threshold", 12) << right("deleted", 10) << right("bits/byte", 11) << right("accuracy", 11)
            << right("exact", 10) << right("ms/kB", 11) << "\n";
  for (const evaluation::CalibrationPoint& point : calibration.points())
    std::cout << right(fixed(point.threshold, 4), 12) << right(percent(point.deletion_rate), 10)
              << right(fixed(point.bits_per_byte, 4), 11) << right(percent(point.token_accuracy, 2), 11)
              << right(percent(point.sequence_accuracy), 10) << right(fixed(point.milliseconds_per_kilobyte, 3), 11)
              << "\n";
  const evaluation::CalibrationSample& sample = calibration.sample();
  std::cout << "\nHard deletion over " << sample.sequences << " sequences and " << sample.source_bytes
            << " source bytes, threads: " << sample.threads
            << ".\n"
               "threshold: bytes with a gate value above it are kept. ms/kB: milliseconds of the\n"
               "forward passes, targets included, for 1,000 bytes of source, median of 3.\n"
               "Written: "
            << file << ", for --rate and --milliseconds-per-kilobyte.\n";
}

}  // namespace

void calibrate(const CalibrateOptions& options) {
  merganser::ThreadPool pool(options.threads.value_or(merganser::hardware_threads()));
  const merganser::ExecutorScope scope(pool);
  const auto examples = open_evaluation_data(with_task_of(options.model, options.data), options.windows, options.seed);
  const Model model = load_model(options.model);
  for (const data::Example& example : examples)
    for (const auto& ids : {example.source, example.target})
      check_length(model, static_cast<Index>(ids.size()), "example");
  const std::vector<data::Batch> batches = batches_of(examples);
  merganser::Rng rng(options.seed);
  Model::ForwardOptions forward;
  forward.rng = &rng;
  evaluation::CalibrateConfig config;
  config.points = options.points;
  config.highest_rate = options.highest_rate;
  config.evaluation.end_id = model.config().end;
  const evaluation::Calibration calibration =
      evaluation::calibrate(model, std::span<const data::Batch>(batches), forward, config);
  io::write_calibration(calibration, options.model.directory);
  if (options.format == OutputFormat::json)
    std::cout << io::to_json(calibration);
  else
    print_table(calibration, (std::filesystem::path(options.model.directory) / io::calibration_file_name).string());
}

}  // namespace byte_demo
