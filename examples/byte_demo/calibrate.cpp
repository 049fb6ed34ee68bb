// byte_demo calibrate: the table from which --rate and --milliseconds-per-kilobyte take their threshold.
#include <filesystem>
#include <iostream>
#include <span>
#include <string>

#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/evaluation/calibrate.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/models/calibration_file.hpp>

#include <merganser/core/text_format.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/saved_model.hpp>
#include <merganser/runs/terminal_text.hpp>
#include <merganser/runs/training_data.hpp>

#include <model.hpp>
#include <options.hpp>

namespace byte_demo {

using merganser::fixed_text;
using merganser::percent_text;

namespace {

void print_table(const evaluation::Calibration& calibration, const std::string& file) {
  runs::TextTable table;
  table.add_column("threshold", 12);
  table.add_column("deleted", 10);
  table.add_column("bits/byte", 11);
  table.add_column("accuracy", 11);
  table.add_column("exact", 10);
  table.add_column("ms/kB", 11);
  for (const evaluation::CalibrationPoint& point : calibration.points())
    table.add_row({fixed_text(point.threshold, 4), percent_text(point.deletion_rate),
                   fixed_text(point.bits_per_byte, 4), percent_text(point.token_accuracy, 2),
                   percent_text(point.sequence_accuracy), fixed_text(point.milliseconds_per_kilobyte, 3)});
  const std::size_t columns = runs::columns_of(STDOUT_FILENO);
  table.print(std::cout, columns);
  const evaluation::CalibrationSample& sample = calibration.sample();
  const auto print = [&](const std::string& text) { std::cout << runs::wrapped(text, columns); };
  std::cout << "\n";
  print("Hard deletion over " + std::to_string(sample.sequences) + " sequences and " +
        std::to_string(sample.source_bytes) + " source bytes, threads: " + std::to_string(sample.threads) + ".");
  print(
      "threshold: bytes with a gate value above it are kept. ms/kB: milliseconds of the forward passes, targets "
      "included, for 1,000 bytes of source, median of 3.");
  print("Written: " + file + ", for --rate and --milliseconds-per-kilobyte.");
}

}  // namespace

void calibrate(const CalibrateOptions& options) {
  const runs::ProgramThreads threads(options.program.threads, std::cerr);
  const std::string& directory = options.model.directory;
  runs::check_can_write(directory, "calibration.json goes there");  // before minutes of measuring
  runs::check_regular_files(directory, {std::string(io::calibration_file_name)});
  const auto examples =
      runs::open_evaluation_data(runs::with_task_of(directory, options.data), options.windows, options.program.seed);
  const Model model = load_model(options.model);
  runs::check_has_gates(model, directory, "calibrate");
  runs::check_lengths(model, examples);
  const std::vector<data::Batch> batches = data::make_batches(examples);
  merganser::Rng rng(options.program.seed);
  Model::ForwardOptions forward;
  forward.rng = &rng;
  evaluation::CalibrateConfig config;
  config.points = options.points;
  config.highest_rate = options.highest_rate;
  config.evaluation.end_id = model.config().end;
  const evaluation::Calibration calibration =
      evaluation::calibrate(model, std::span<const data::Batch>(batches), forward, config);
  io::write_calibration(calibration, directory);
  const std::filesystem::path file = std::filesystem::path(directory) / io::calibration_file_name;
  if (options.format == OutputFormat::json)
    std::cout << io::read_text_file(file);
  else
    print_table(calibration, file.string());
}

}  // namespace byte_demo
