// How byte_demo generate writes.
#include <generation_settings.hpp>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <merganser/core/io_error.hpp>
#include <merganser/io/generation_config.hpp>

#include <model.hpp>

namespace byte_demo {

using merganser::IoError;
using merganser::TokenId;
namespace io = merganser::io;

namespace {

constexpr Index longest_wish = 1'000'000;  // as on the command line
constexpr Index hugging_face_top_k = 50;   // where do_sample is true and top_k is missing

enum class Method { greedy, draw, search };

/// The file of a model, beside which what it wishes is judged.
struct Wishes {
  io::GenerationConfig config;
  std::string file;

  explicit Wishes(const std::string& directory)
      : config(io::read_generation_config(directory, print_warning)),
        file((std::filesystem::path(directory) / io::generation_config_name).string()) {}

  /// The id that generation begins with is that of config.json.
  void check_start(const Model::Config& model) const {
    const TokenId start = config.decoder_start_token_id.value_or(model.start);
    if (start != model.start)
      throw IoError(file, "decoder_start_token_id", start, std::to_string(model.start) + ", as in config.json");
  }
};

Method method_of(const GenerateOptions& options, const Wishes& wishes) {
  if (options.sampling) return *options.sampling == models::Sampling::greedy ? Method::greedy : Method::draw;
  if (options.beams) return Method::search;
  if (options.temperature || options.top_k || options.top_p) return Method::draw;
  const bool searches = wishes.config.num_beams.value_or(1) > 1, draws = wishes.config.do_sample.value_or(false);
  if (searches && draws && !options.length_penalty)
    throw IoError(wishes.file, "num_beams", *wishes.config.num_beams,
                  "1 where do_sample is true, as beams draw nothing here (or --greedy, --beams or --temperature)");
  if (searches) return Method::search;
  return draws ? Method::draw : Method::greedy;
}

/// The first that has a value.
template <class Value>
Value first_of(const std::optional<Value>& asked, const std::optional<Value>& wished, Value otherwise) {
  return asked ? *asked : wished.value_or(otherwise);
}

models::SamplingOptions drawing(const GenerateOptions& options, const Wishes& wishes) {
  const io::GenerationConfig& wished = wishes.config;
  models::SamplingOptions sampling;
  sampling.method = models::Sampling::random;
  sampling.temperature = first_of(options.temperature, wished.temperature, sampling.temperature);
  sampling.top_k =
      first_of(options.top_k, wished.top_k, wished.do_sample.value_or(false) ? hugging_face_top_k : sampling.top_k);
  sampling.top_p = first_of(options.top_p, wished.top_p, sampling.top_p);
  // What the command line gives is positive.
  if (!(sampling.temperature > 0)) throw IoError(wishes.file, "temperature", 0, "a positive number to draw with");
  if (!(sampling.top_p > 0)) throw IoError(wishes.file, "top_p", 0, "a number above 0 to draw with");
  return sampling;
}

Index longest(const GenerateOptions& options, const Wishes& wishes, const Model& model, Index usual_length) {
  const io::GenerationConfig& wished = wishes.config;
  if (options.max_length) {
    check_length(model, *options.max_length, "--max-length");
    return *options.max_length;
  }
  Index length = wished.max_length.value_or(usual_length);
  if (wished.max_new_tokens) length = *wished.max_new_tokens + 1;  // and the start id
  if (length < 2) throw IoError(wishes.file, "max_length", length, "2 at least: the start id and one token");
  return std::min({length, longest_wish, most_tokens(model)});
}

}  // namespace

GenerationSettings generation_settings(const GenerateOptions& options, const Model& model, Index usual_length) {
  const Wishes wishes(options.model.directory);
  wishes.check_start(model.config());
  const Method method = method_of(options, wishes);
  if (options.length_penalty && method != Method::search)
    throw std::invalid_argument("--length-penalty: nothing is searched: give --beams N");
  GenerationSettings settings;
  settings.generation.max_length = longest(options, wishes, model, usual_length);
  settings.generation.seed = options.seed;
  settings.generation.ends.assign(wishes.config.eos_token_id.begin(), wishes.config.eos_token_id.end());
  if (method == Method::draw) settings.generation.sampling = drawing(options, wishes);
  if (method == Method::search) {
    models::BeamSearchOptions& search = settings.beams.emplace();
    search.max_length = settings.generation.max_length;
    search.ends = settings.generation.ends;
    search.beams = first_of(options.beams, wishes.config.num_beams, search.beams);
    search.length_penalty = first_of(options.length_penalty, wishes.config.length_penalty, search.length_penalty);
    search.early_stopping = wishes.config.early_stopping.value_or(search.early_stopping);
  }
  return settings;
}

}  // namespace byte_demo
