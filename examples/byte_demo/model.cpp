// Making, loading and saving the model of the demo.
#include <model.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <system_error>

#include <stdlib.h>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
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

std::vector<Index> gate_blocks(const ModelOptions& options) {
  if (options.gate_blocks.empty()) return {std::min<Index>(2, options.encoder_blocks - 1)};
  Index last = -1;
  for (const Index block : options.gate_blocks) {
    merganser::check_argument(block > last && block < options.encoder_blocks, "train", "--gate-block", block,
                              "rising block numbers below " + std::to_string(options.encoder_blocks));
    last = block;
  }
  return options.gate_blocks;
}

/// The type of that name in config.json; main.cpp lets no other names pass.
std::optional<io::HfConfig::DeletionType> deletion_type(const std::optional<std::string>& name) {
  using Type = io::HfConfig::DeletionType;
  if (!name) return std::nullopt;
  if (*name == "log_sigmoid") return Type::log_sigmoid;
  if (*name == "fixed") return Type::fixed;
  return *name == "random" ? Type::random : Type::scaled_sigmoid;
}

}  // namespace

models::StackConfig encoder_config(const ModelOptions& options) {
  models::StackConfig stack;
  stack.width = options.width;
  stack.heads = options.heads;
  stack.head_width = options.head_width;
  stack.feed_forward_width = options.feed_forward;
  stack.blocks = options.encoder_blocks;
  stack.score_bound = {options.score_bound, options.score_bound_value};
  if (options.score_bound == nn::ScoreBoundKind::none) stack.score_bound = nn::ScoreBound::none();
  return stack;
}

merganser::Vector<merge::GateConfig> gate_configs(const ModelOptions& options, double target) {
  merganser::Vector<merge::GateConfig> gates;
  if (!options.gate || options.pooling) return gates;
  for (const Index block : gate_blocks(options)) {
    merge::GateConfig gate;
    gate.block = block;
    gate.kind = *options.gate;
    gate.rate = target;
    gate.initial_bias = options.gate_bias;
    gate.noise = options.gate_noise;
    if (gate.kind == merge::GateKind::fixed) gate.separators = Tokenizer::separator_ids();
    gates.push_back(gate);
  }
  return gates;
}

std::optional<merge::PoolingConfig> pooling_config(const ModelOptions& options) {
  std::optional<merge::PoolingConfig> pooling = options.pooling;
  if (pooling) pooling->block = gate_blocks(options).front();
  return pooling;
}

namespace {

io::LoadModelOptions load_options(const ModelSource& source) {
  io::LoadModelOptions options;
  options.missing = {source.delete_gate_layer, source.sigmoid_mask_scale, source.deletion_threshold,
                     deletion_type(source.deletion_type)};
  return options;
}

/// A part that takes tokens away, of a gate or a pooling.
bool shortens(const std::string& parameter) {
  constexpr std::array names = {".delete_gate.", ".boundary_predictor.", ".downsampling_module.", ".down_ln."};
  return std::any_of(names.begin(), names.end(),
                     [&](const char* name) { return parameter.find(name) != std::string::npos; });
}

/// What models of every kind have: embedding and encoder, named as in a whole model.
struct Reader {
  using ScalarType = float;

  template <class Visitor>
  void visit(Visitor&& visitor, const merganser::ParameterName& prefix) {
    embedding.visit(visitor, prefix + "shared.");
    encoder.visit(visitor, prefix + "encoder.");
  }

  merganser::nn::Embedding<float>& embedding;
  models::Encoder<float>& encoder;
};

Model model_to_start_from(const std::string& directory) {
  ModelSource source;
  source.directory = directory;
  return load_whole_model(source);
}

/// Takes out the gates and the pooling that the other encoder has no place for.
void leave_behind(models::Encoder<float>& encoder, const models::Encoder<float>& other) {
  const auto same = [](const auto& a, const auto& b) {
    return a.config().block == b.config().block && a.config().kind == b.config().kind;
  };
  const auto placeless = [&](const merge::Gate<float>& gate) {
    return std::none_of(other.gates.begin(), other.gates.end(), [&](const auto& place) { return same(gate, place); });
  };
  auto& gates = encoder.gates;
  gates.erase(std::remove_if(gates.begin(), gates.end(), placeless), gates.end());
  if (encoder.pooling && !(other.pooling && same(*encoder.pooling, *other.pooling))) encoder.pooling.reset();
}

/// The weights of a model or part of one; a gate or a pooling that one of the two lacks is no part of it.
template <class Part>
void start_from(Part& part, Part& other, const std::string& directory) {
  leave_behind(other.encoder, part.encoder);
  merganser::Vector<std::string> missing;
  try {
    missing = merganser::copy_parameters(other, part);
  } catch (const std::invalid_argument& error) {
    throw IoError(directory, "model", error.what(), "one of the same sizes");
  }
  for (const std::string& name : missing)
    if (!shortens(name)) throw IoError(directory, "model", "no " + name, "one that lacks at most gates and poolings");
}

}  // namespace

Model make_model(const ModelOptions& options, double target, std::uint64_t seed) {
  Model::Config config;
  config.vocabulary = Tokenizer::vocab_size;
  config.encoder = encoder_config(options);
  config.decoder_blocks = options.decoder_blocks;
  config.gates = gate_configs(options, target);
  config.pooling = pooling_config(options);
  Model model(config);
  merganser::Rng rng(seed);
  model.initialize(rng, 1.0, options.embedding_deviation);
  if (!options.start_from.empty()) {
    Model other = model_to_start_from(options.start_from);
    start_from(model, other, options.start_from);
  }
  return model;
}

void start_reader(const std::string& directory, merganser::nn::Embedding<float>& embedding,
                  models::Encoder<float>& encoder) {
  Model other = model_to_start_from(directory);
  Reader reader{embedding, encoder};
  Reader trained{other.shared, other.encoder};
  start_from(reader, trained, directory);
}

Model load_whole_model(const ModelSource& source) {
  return io::load_model<float>(source.directory, load_options(source));
}

Model load_model(const ModelSource& source) {
  Model model = io::load_for_inference<float>(source.directory, load_options(source));
  constexpr Index needed = Tokenizer::first_extra_id + 1;
  if (model.config().vocabulary < needed)
    throw IoError(source.directory, "vocabulary", model.config().vocabulary,
                  "at least " + std::to_string(needed) + " ids: the bytes and one mask");
  return model;
}

Index most_tokens(const Model& model) {
  const models::StackConfig& stack = model.config().encoder;
  return stack.positions == models::PositionScheme::absolute ? stack.max_positions : std::numeric_limits<Index>::max();
}

void check_length(const Model& model, Index tokens, const std::string& what) {
  const Index most = most_tokens(model);
  if (tokens > most)
    throw std::invalid_argument(what + ": got " + std::to_string(tokens) + " tokens, expected at most " +
                                std::to_string(most) + ", the positions of this model");
}

void check_can_save(const Model& model, const std::string& directory) {
  io::hf_config(model.config());
  std::error_code ignored;
  fs::path place = fs::absolute(directory);
  if (fs::exists(place, ignored))
    for (const char* name : {"config.json", "model.safetensors", "selftest.json", "task.json"})
      if (fs::exists(place / name, ignored) && !fs::is_regular_file(place / name, ignored))
        throw IoError((place / name).string(), "file", "something that is not a regular file",
                      "a new or a regular file");
  while (!fs::exists(place, ignored) && place != place.parent_path()) place = place.parent_path();
  if (!fs::is_directory(place, ignored)) throw IoError(place.string(), "--save", "not a directory", "a directory");
  std::string trial = (place / ".byte_demo-XXXXXX").string();  // permissions alone do not tell
  if (::mkdtemp(trial.data()) == nullptr)
    throw IoError(place.string(), "--save", "a directory that cannot be written to", "one that can");
  fs::remove(trial, ignored);
}

void save_model(const Model& model, const io::ModelTask& task, const std::string& directory) {
  std::error_code ignored;
  fs::remove(fs::path(directory) / io::calibration_file_name, ignored);
  io::save_model(model, directory);
  io::write_task(task, directory);
  write_selftest(model, directory);
}

merge::DeletionOptions deletion_options(const RateOptions& rate, const ModelSource& model) {
  merge::DeletionOptions options;
  options.target_rate = rate.target;
  options.threshold = rate.threshold;
  if (rate.rate || rate.milliseconds) {
    const std::string file = (fs::path(model.directory) / io::calibration_file_name).string();
    std::error_code ignored;
    if (!fs::exists(file, ignored))
      throw IoError(file, "file", "no such file", "the table that byte_demo calibrate writes");
    const merganser::evaluation::Calibration calibration = io::read_calibration(model.directory);
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
