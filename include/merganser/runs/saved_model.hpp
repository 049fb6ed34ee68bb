// A model with its task and its self-test, in a directory that is tried before work begins.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <merganser/core/io_error.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/io/files/warning.hpp>
#include <merganser/io/models/calibration_file.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/io/models/model_extras.hpp>
#include <merganser/io/models/selftest.hpp>
#include <merganser/io/models/task_file.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/runs/model_design.hpp>
#include <merganser/runs/run_options.hpp>
#include <merganser/training/recipe.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// Finds out before minutes of work whether files can be made in a directory that is there; makes nothing.
/// @param what is to go there, for the error
/// @throws IoError if not
inline void check_can_write(const std::string& directory, const std::string& what) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(directory, ignored))
    throw IoError(directory, what, "not a directory", "a directory");
  // Permissions alone do not tell. A file without a name stays behind nobody.
  if (const int file = ::open(directory.c_str(), O_TMPFILE | O_WRONLY, 0600); file >= 0) {
    ::close(file);
    return;
  }
  std::string trial =
      (std::filesystem::path(directory) / ".merganser-XXXXXX").string();  // where there are none of those
  if (::mkdtemp(trial.data()) == nullptr)
    throw IoError(directory, what, "a directory that cannot be written to", "one that can");
  std::filesystem::remove(trial, ignored);
}

/// @throws IoError if something that is not a regular file has one of these names in a directory
inline void check_regular_files(const std::filesystem::path& directory, const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const std::string& name : names)
    if (std::filesystem::exists(directory / name, ignored) &&
        !std::filesystem::is_regular_file(directory / name, ignored))
      throw IoError((directory / name).string(), "file", "something that is not a regular file",
                    "a new or a regular file");
}

/// Finds out before hours of training whether `save_trained_model` will be able to write; makes nothing.
/// @throws IoError if not
/// @throws std::invalid_argument if a model is there that may not be overwritten
inline void check_can_save(const TextModel& model, const std::string& directory, Overwrite overwrite) {
  io::hf_config(model);
  std::error_code ignored;
  for (const std::string_view name : {io::config_file_name, io::weights_file_name, io::shard_index_name})
    if (overwrite == Overwrite::no && std::filesystem::exists(std::filesystem::path(directory) / name, ignored))
      throw std::invalid_argument("--save " + directory + ": there is a model already; --force writes over it");
  std::filesystem::path place = std::filesystem::absolute(directory);
  if (std::filesystem::exists(place, ignored))
    check_regular_files(place, {"config.json", "model.safetensors", "selftest.json", "task.json"});
  while (!std::filesystem::exists(place, ignored) && place != place.parent_path()) place = place.parent_path();
  check_can_write(place.string(), "--save");
}

/// Letters as in the tasks, a sentence, and bytes that are no text, in every mode. Short, so that models of few
/// positions read them.
inline std::vector<io::SelftestInput> selftest_inputs() {
  constexpr std::array<std::string_view, 3> texts{"#aMerganserDives", "Deep in the wood: a lake.",
                                                  "\xff\xfe\x80 \xe2\x82"};
  std::vector<io::SelftestInput> inputs;
  inputs.reserve(5);
  for (const std::string_view text : texts)
    inputs.push_back({data::ByteTokenizer().encode(text), merge::DeletionMode::hard});
  for (const auto mode : {merge::DeletionMode::none, merge::DeletionMode::soft})
    inputs.push_back({inputs.front().source, mode});
  return inputs;
}

/// Writes `directory`/selftest.json for the model in it.
inline void write_usual_selftest(const TextModel& model, const std::string& directory) {
  io::write_selftest(io::make_selftest<float>(model, selftest_inputs()), directory);
}

/// A directory's calibration.json and a digest of the weights that it stands beside; empty: there is none.
struct KeptCalibration {
  std::string text, weights;

  static KeptCalibration of(const std::filesystem::path& directory) {
    std::error_code ignored;
    const std::filesystem::path file = directory / io::calibration_file_name;
    if (!std::filesystem::is_regular_file(file, ignored)) return {};
    try {
      return {io::read_text_file(file), io::weights_digest(directory)};
    } catch (const IoError&) {
      return {};
    }
  }
};

/// The model, its task and its self-test. The calibration of other weights in its place goes.
/// @param start_from the directory of the model that training began with, whose other files come along, or empty
/// @throws IoError if a file cannot be written
inline void save_trained_model(const TextModel& model, const io::ModelTask& task, const std::string& directory,
                               const std::string& start_from, const io::WarningCallback& on_warning) {
  io::ModelExtras extras;
  try {
    if (!start_from.empty()) extras = io::read_model_extras(start_from);
  } catch (const IoError& error) {  // gone since training began: no reason to lose the model
    if (on_warning) on_warning(error.what());
  }
  extras.files.erase(std::string(io::calibration_file_name));  // of other weights
  const auto calibration = KeptCalibration::of(directory);
  io::remove_model_extras(directory);
  io::save_model(model, directory, {}, extras);
  if (!calibration.weights.empty() && calibration.weights == io::weights_digest(directory))
    io::write_file_atomically(std::filesystem::path(directory) / io::calibration_file_name,
                              std::string_view(calibration.text));
  io::write_task(task, directory);
  write_usual_selftest(model, directory);
}

/// @throws std::invalid_argument if the model has no gate; `what` needs one
inline void check_has_gates(const TextModel& model, const std::string& directory, const std::string& what) {
  if (training::gates_of(model).count > 0) return;
  const auto& policies = model.encoder.policies;
  const bool pools = std::any_of(policies.begin(), policies.end(),
                                 [](const auto& placement) { return placement.policy.traits().is_structural; });
  throw std::invalid_argument(what + ": the model in " + directory +
                              (pools              ? " has a pooling, whose rate is fixed, and no gate"
                               : policies.empty() ? " has no gate and deletes nothing"
                                                  : " has other policies and no gate"));
}

/// How much is deleted when a trained model runs; at most one is given.
struct RateOptions {
  std::optional<double> target;     ///< this share of every sequence
  std::optional<double> threshold;  ///< a gate value: tokens above it are kept
  // What calibration.json in the directory of the model makes a threshold of:
  std::optional<double> rate;          ///< this share on average over texts, each its own
  std::optional<double> milliseconds;  ///< at most so many for 1,000 bytes
};

/// Hard deletion at the rate or in the time asked for.
/// @throws IoError if calibration.json of the model is needed and is not there or damaged
/// @throws std::invalid_argument if nothing in it is fast enough, or something is asked for and the model has no gate
inline merge::DeletionOptions deletion_options(const RateOptions& rate, const std::string& directory,
                                               const TextModel& model, const io::WarningCallback& on_warning) {
  const auto needs_gates = [&](const auto& asked, const char* name) {
    if (asked) check_has_gates(model, directory, name);
  };
  const auto& policies = model.encoder.policies;
  if (std::none_of(policies.begin(), policies.end(), [](const auto& one) { return one.policy.traits().has_budget; }))
    needs_gates(rate.target, "--target");
  needs_gates(rate.threshold, "--threshold");
  needs_gates(rate.rate, "--rate");
  needs_gates(rate.milliseconds, "--milliseconds-per-kilobyte");
  merge::DeletionOptions options;
  options.target_rate = rate.target;
  options.threshold = rate.threshold;
  if (rate.rate || rate.milliseconds) {
    const std::string file = (std::filesystem::path(directory) / io::calibration_file_name).string();
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored))
      throw IoError(file, "file", "no such file", "the table that byte_demo calibrate writes");
    const evaluation::Calibration calibration = io::read_calibration(directory, on_warning);
    if (rate.milliseconds)
      check_argument(*rate.milliseconds >= calibration.fastest(), file, "--milliseconds-per-kilobyte",
                     *rate.milliseconds, "at least " + to_text(calibration.fastest()) + ", the fastest of the table");
    options.threshold = rate.rate ? calibration.threshold_for_rate(*rate.rate)
                                  : calibration.threshold_for_milliseconds(*rate.milliseconds);
    options.survivor_bias = calibration.sample().survivor_bias;
  }
  options.check();
  return options;
}

}  // namespace merganser::runs
