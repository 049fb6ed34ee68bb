// byte_demo calibrate: the table from which --rate and --milliseconds-per-kilobyte take their threshold.
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <system_error>

#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/evaluation/calibrate.hpp>
#include <merganser/io/atomic_file.hpp>
#include <merganser/io/calibration_file.hpp>

#include <comparison.hpp>
#include <corpus.hpp>
#include <model.hpp>
#include <model_task.hpp>
#include <options.hpp>
#include <table.hpp>
#include <terminal.hpp>
#include <threads.hpp>

namespace byte_demo {

namespace io = merganser::io;

namespace {

void print_table(const evaluation::Calibration& calibration, const std::string& file) {
  Table table;
  table.add_column("threshold", 12);
  table.add_column("deleted", 10);
  table.add_column("bits/byte", 11);
  table.add_column("accuracy", 11);
  table.add_column("exact", 10);
  table.add_column("ms/kB", 11);
  for (const evaluation::CalibrationPoint& point : calibration.points())
    table.add_row({fixed(point.threshold, 4), percent(point.deletion_rate), fixed(point.bits_per_byte, 4),
                   percent(point.token_accuracy, 2), percent(point.sequence_accuracy),
                   fixed(point.milliseconds_per_kilobyte, 3)});
  const std::size_t columns = columns_of(STDOUT_FILENO);
  table.print(std::cout, columns);
  const evaluation::CalibrationSample& sample = calibration.sample();
  const auto print = [&](const std::string& text) { std::cout << wrapped(text, columns); };
  std::cout << "\n";
  print("Hard deletion over " + std::to_string(sample.sequences) + " sequences and " +
        std::to_string(sample.source_bytes) + " source bytes, threads: " + std::to_string(sample.threads) + ".");
  print(
      "threshold: bytes with a gate value above it are kept. ms/kB: milliseconds of the forward passes, targets "
      "included, for 1,000 bytes of source, median of 3.");
  print("Written: " + file + ", for --rate and --milliseconds-per-kilobyte.");
}

/// Before minutes of measuring.
void check_can_calibrate(const std::string& directory) {
  check_can_write(directory, "calibration.json goes there");
  const std::filesystem::path file = std::filesystem::path(directory) / io::calibration_file_name;
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored) && !std::filesystem::is_regular_file(file, ignored))
    throw merganser::IoError(file.string(), "file", "something that is not a regular file", "a new or a regular file");
}

}  // namespace

void calibrate(const CalibrateOptions& options) {
  const Threads threads(options.threads);
  check_can_calibrate(options.model.directory);
  const auto examples = open_evaluation_data(with_task_of(options.model, options.data), options.windows, options.seed);
  const Model model = load_model(options.model);
  check_has_gates(model, options.model.directory, "calibrate");
  for (const data::Example& example : examples)
    for (const auto& ids : {example.source, example.target})
      check_length(model, static_cast<Index>(ids.size()), "example");
  const std::vector<data::Batch> batches = data::make_batches(examples);
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
  const std::filesystem::path file = std::filesystem::path(options.model.directory) / io::calibration_file_name;
  if (options.format == OutputFormat::json)
    std::cout << io::read_text_file(file);
  else
    print_table(calibration, file.string());
}

}  // namespace byte_demo
