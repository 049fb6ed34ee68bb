// Making, loading and saving the model of the demo.
#include <model.hpp>

#include <filesystem>
#include <iostream>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/io/calibration_file.hpp>
#include <merganser/io/model_directory.hpp>

#include <selftest.hpp>

template class merganser::models::Encoder<float>;
template class merganser::models::Decoder<float>;
template class merganser::models::EncoderDecoder<float>;

namespace byte_demo {

using merganser::IoError;
using Tokenizer = merganser::data::ByteTokenizer;
namespace fs = std::filesystem;
namespace io = merganser::io;

namespace {

/// The type of that name in config.json; command_line.cpp lets no other names pass.
std::optional<io::HfConfig::DeletionType> deletion_type(const std::optional<std::string>& name) {
  using Type = io::HfConfig::DeletionType;
  if (!name) return std::nullopt;
  if (*name == "log_sigmoid") return Type::log_sigmoid;
  if (*name == "fixed") return Type::fixed;
  return *name == "random" ? Type::random : Type::scaled_sigmoid;
}

io::LoadModelOptions load_options(const ModelSource& source) {
  io::LoadModelOptions options;
  options.missing = {source.delete_gate_layer, source.sigmoid_mask_scale, source.deletion_threshold,
                     deletion_type(source.deletion_type)};
  if (source.any_tokenizer) options.foreign_tokenizer = io::ForeignTokenizer::accept;
  options.on_warning = print_warning;
  return options;
}

/// What `load` makes; errors that name options of the library name those of the program instead.
template <class Load>
Model loaded(const Load& load) {
  try {
    return load();
  } catch (const IoError& error) {
    const std::pair<std::string_view, std::string_view> words[] = {
        {"whoever has ids of that tokenizer may load it with ForeignTokenizer::accept",
         "--any-tokenizer loads it nevertheless"},
        {"whoever loads it may give one",
         "--delete-gate-layer, --sigmoid-mask-scale, --deletion-threshold and --deletion-type give what is missing"}};
    std::string message = error.what();
    for (const auto& [of_library, of_program] : words)
      if (const std::size_t at = message.find(of_library); at != std::string::npos)
        throw std::invalid_argument(message.replace(at, of_library.size(), of_program));
    throw;
  }
}

}  // namespace

void print_warning(const std::string& text) {
  static std::set<std::string> printed;
  if (printed.insert(text).second) std::cerr << "byte_demo: warning: " << text << "\n";
}

Model load_whole_model(const ModelSource& source) {
  return loaded([&] { return io::load_model<float>(source.directory, load_options(source)); });
}

Model load_model(const ModelSource& source) {
  Model model = loaded([&] { return io::load_for_inference<float>(source.directory, load_options(source)); });
  check_reads_bytes(model, source.directory);
  return model;
}

void check_reads_bytes(const Model& model, const std::string& directory) {
  constexpr Index needed = Tokenizer::first_extra_id + 1;
  if (model.config().vocabulary < needed)
    throw IoError(directory, "vocabulary", model.config().vocabulary,
                  "at least " + std::to_string(needed) + " ids: the bytes and one mask");
}

void check_length(const Model& model, Index tokens, const std::string& what) {
  const Index most = model.config().encoder.most_tokens();
  if (tokens > most)
    throw std::invalid_argument(what + ": got " + std::to_string(tokens) + " tokens, expected at most " +
                                std::to_string(most) + ", the positions of this model");
}

void check_has_gates(const Model& model, const std::string& directory, const std::string& what) {
  if (model.config().gates.empty())
    throw std::invalid_argument(what + ": the model in " + directory +
                                (model.config().pooling ? " has a pooling, whose rate is fixed, and no gate"
                                                        : " has no gate and deletes nothing"));
}

void check_can_write(const std::string& directory, const std::string& what) {
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored)) throw IoError(directory, what, "not a directory", "a directory");
  // Permissions alone do not tell. A file without a name stays behind nobody.
  if (const int file = ::open(directory.c_str(), O_TMPFILE | O_WRONLY, 0600); file >= 0) {
    ::close(file);
    return;
  }
  std::string trial = (fs::path(directory) / ".byte_demo-XXXXXX").string();  // where the file system has none of those
  if (::mkdtemp(trial.data()) == nullptr)
    throw IoError(directory, what, "a directory that cannot be written to", "one that can");
  fs::remove(trial, ignored);
}

void check_can_save(const Model& model, const std::string& directory, Overwrite overwrite) {
  io::hf_config(model.config());
  std::error_code ignored;
  for (const std::string_view name : {io::config_file_name, io::weights_file_name, io::shard_index_name})
    if (overwrite == Overwrite::no && fs::exists(fs::path(directory) / name, ignored))
      throw std::invalid_argument("--save " + directory + ": there is a model already; --force writes over it");
  fs::path place = fs::absolute(directory);
  if (fs::exists(place, ignored))
    for (const char* name : {"config.json", "model.safetensors", "selftest.json", "task.json"})
      if (fs::exists(place / name, ignored) && !fs::is_regular_file(place / name, ignored))
        throw IoError((place / name).string(), "file", "something that is not a regular file",
                      "a new or a regular file");
  while (!fs::exists(place, ignored) && place != place.parent_path()) place = place.parent_path();
  check_can_write(place.string(), "--save");
}

void save_model(const Model& model, const io::ModelTask& task, const std::string& directory,
                const std::string& start_from) {
  io::ModelExtras extras;
  try {
    if (!start_from.empty()) extras = io::read_model_extras(start_from);
  } catch (const IoError& error) {  // gone since training began: no reason to lose the model
    print_warning(error.what());
  }
  extras.files.erase(std::string(io::calibration_file_name));  // of other weights
  io::remove_model_extras(directory);
  io::save_model(model, directory, {}, extras);
  io::write_task(task, directory);
  write_selftest(model, directory);
}

merge::DeletionOptions deletion_options(const RateOptions& rate, const ModelSource& source, const Model& model) {
  if (rate.target) check_has_gates(model, source.directory, "--target");
  if (rate.threshold) check_has_gates(model, source.directory, "--threshold");
  if (rate.rate) check_has_gates(model, source.directory, "--rate");
  if (rate.milliseconds) check_has_gates(model, source.directory, "--milliseconds-per-kilobyte");
  merge::DeletionOptions options;
  options.target_rate = rate.target;
  options.threshold = rate.threshold;
  if (rate.rate || rate.milliseconds) {
    const std::string file = (fs::path(source.directory) / io::calibration_file_name).string();
    std::error_code ignored;
    if (!fs::exists(file, ignored))
      throw IoError(file, "file", "no such file", "the table that byte_demo calibrate writes");
    const merganser::evaluation::Calibration calibration = io::read_calibration(source.directory, print_warning);
    if (rate.milliseconds)
      merganser::check_argument(*rate.milliseconds >= calibration.fastest(), file, "--milliseconds-per-kilobyte",
                                *rate.milliseconds,
                                "at least " + merganser::to_text(calibration.fastest()) + ", the fastest of the table");
    options.threshold = rate.rate ? calibration.threshold_for_rate(*rate.rate)
                                  : calibration.threshold_for_milliseconds(*rate.milliseconds);
    options.survivor_bias = calibration.sample().survivor_bias;
  }
  options.check();
  return options;
}

}  // namespace byte_demo
