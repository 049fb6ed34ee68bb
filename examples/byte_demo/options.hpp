// What the command line can ask for, with the defaults of every subcommand.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/io/generation_settings.hpp>
#include <merganser/io/tensor_data.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/merge/token_pooling.hpp>
#include <merganser/nn/score_bound.hpp>
#include <merganser/training/recipe.hpp>

namespace byte_demo {

using merganser::Index;
namespace merge = merganser::merge;
namespace models = merganser::models;
namespace nn = merganser::nn;
namespace training = merganser::training;

/// Where examples come from: a text, pairs of texts, or a task that makes its own. Empty: not given.
struct DataOptions {
  std::string text, valid, tsv, task;
  std::optional<Index> window;           ///< bytes; 64 for texts, 32 letters for generated tasks
  std::optional<Index> shortest_window;  ///< bytes of the shortest texts to train on; 16, or a shorter `window`
  double noise = 0.1;                    ///< of denoising: chance of a byte to be masked
};

/// Of a model that starts from none.
struct ModelSizes {
  Index width = 96, heads = 4, head_width = 24, feed_forward = 192;
  Index encoder_blocks = 4, decoder_blocks = 1;
};
inline constexpr ModelSizes default_sizes;
inline constexpr double default_score_bound = 8;  // nats

/// Whether a model may be saved in the place of another.
enum class Overwrite { no, yes };

enum class GateChoice { none, learned, random, fixed };

/// What is empty is as in the model to start from; without one, as `default_sizes` and `design_model` have it.
struct ModelOptions {
  std::optional<Index> width, heads, head_width, feed_forward;
  std::optional<Index> encoder_blocks, decoder_blocks;
  std::vector<Index> gate_blocks;  ///< gates stand on entry to these; none given: block 2, or the last of fewer
  std::optional<GateChoice> gate;
  std::optional<merge::PoolingConfig> pooling;  ///< in place of gates; its block is theirs
  std::optional<nn::ScoreBoundKind> score_bound;
  std::optional<double> score_bound_value;
  std::optional<merge::GateNoise> gate_noise;
  double gate_bias = 3.0;            ///< of the logits at the start: gates come in wide open
  double embedding_deviation = 0.3;  ///< small, so that attention learns to copy some hundred steps sooner
  std::string start_from;            ///< a model directory, whose configuration and weights come first
};

struct TrainOptions {
  DataOptions data;
  ModelOptions model;
  training::Recipe recipe;
  std::optional<Index> steps;  ///< 2,500 unless steps or minutes are given
  std::optional<double> minutes;
  std::uint64_t seed = 1;
  std::optional<int> threads;

  Index windows = 512;    ///< sequences of the evaluation at the end
  std::string save, log;  ///< empty: not given
  Overwrite overwrite = Overwrite::no;
  Index log_every = 1;  ///< steps

  std::string checkpoints, resume;  ///< a directory; at most one is given
  std::string checkpoint;           ///< the one in `resume` to go on from
  Index checkpoint_every = 500;     ///< steps
  Index keep = 3;                   ///< checkpoints, the best one besides
};

/// How much is deleted when a trained model runs; at most one is given.
struct RateOptions {
  std::optional<double> target;     ///< this share of every sequence
  std::optional<double> threshold;  ///< a gate value: tokens above it are kept
  // What calibration.json in the directory of the model makes a threshold of:
  std::optional<double> rate;          ///< this share on average over texts, each its own
  std::optional<double> milliseconds;  ///< at most so many for 1,000 bytes
};

/// The directory of a model, and what to take for keys that the config.json of a MrT5 must have and this one lacks.
struct ModelSource {
  std::string directory;
  std::optional<Index> delete_gate_layer;
  std::optional<double> sigmoid_mask_scale, deletion_threshold;
  std::optional<std::string> deletion_type;  ///< as in config.json
  bool any_tokenizer = false;                ///< bytes even where files of another tokenizer lie beside the model
};

enum class OutputFormat { text, json };
enum class ColorChoice { automatic, always, never };

/// How a text that is typed becomes ids.
enum class TextReading {
  names,     ///< the names of special tokens, such as <mask>, are those tokens
  verbatim,  ///< every byte is only itself
};

struct EvaluateOptions {
  ModelSource model;
  DataOptions data;
  RateOptions rate;
  Index windows = 512;
  std::uint64_t seed = 1;
  std::optional<int> threads;
  OutputFormat format = OutputFormat::text;
};

/// What becomes of a character that is deleted in part.
enum class ByteView {
  characters,   ///< it is whole, and marked
  hexadecimal,  ///< each of its bytes is by itself
};

struct ShowOptions {
  ModelSource model;
  std::optional<std::string> text;
  std::string input_file;
  TextReading reading = TextReading::names;
  std::optional<Index> window;  ///< bytes; longer texts are cut; 64, or what the model has positions for
  RateOptions rate;
  std::uint64_t seed = 1;  ///< of a random gate
  std::optional<int> threads;
  OutputFormat format = OutputFormat::text;
  ByteView bytes = ByteView::characters;
  ColorChoice color = ColorChoice::automatic;
  std::string picture;  ///< a file for the text as SVG
};

enum class StreamChoice { automatic, always, never };

struct GenerateOptions {
  ModelSource model;
  std::optional<std::string> text;
  std::string input_file;  ///< a text a line
  TextReading reading = TextReading::names;
  RateOptions rate;
  merganser::io::GenerationRequest request;
  StreamChoice stream = StreamChoice::automatic;
  std::optional<int> threads;
};

struct CalibrateOptions {
  ModelSource model;
  DataOptions data;
  Index points = 10;
  double highest_rate = 0.9;
  Index windows = 512;
  std::uint64_t seed = 1;
  std::optional<int> threads;
  OutputFormat format = OutputFormat::text;
};

enum class WriteSelftest { no, yes };

struct SelftestOptions {
  ModelSource model;
  WriteSelftest write = WriteSelftest::no;
  std::optional<int> threads;
};

struct FirstRunOptions {
  std::string model;  ///< a directory
  std::optional<int> threads;
  ColorChoice color = ColorChoice::automatic;
};

struct ConvertOptions {
  ModelSource model;
  std::string save;  ///< a directory
  Overwrite overwrite = Overwrite::no;
  merganser::io::DataType weights = merganser::io::DataType::bf16;
};

/// Everything else of it is in vowel_recipe.hpp.
struct VowelOptions {
  std::optional<Index> steps;
  std::uint64_t seed = 1;
  std::optional<int> threads;
  ColorChoice color = ColorChoice::automatic;
  std::string save;
  Overwrite overwrite = Overwrite::no;
};

/// @throws std::invalid_argument if every gated step is to go by rank
inline void check_hard_steps(const training::Recipe& recipe) {
  if (recipe.hard_rates && !recipe.hard_by_threshold && recipe.hard_probability == 1)
    throw std::invalid_argument(
        "--hard-rates needs a --hard-probability below 1: the controller steers by the other steps");
}

// The subcommands. Each throws an exception that says in one line what is wrong.
void first_run(const FirstRunOptions& options);
void vowels(const VowelOptions& options);
void train(const TrainOptions& options);
void evaluate(const EvaluateOptions& options);
void show(const ShowOptions& options);
void generate(const GenerateOptions& options);
void calibrate(const CalibrateOptions& options);
void selftest(const SelftestOptions& options);
void convert(const ConvertOptions& options);

}  // namespace byte_demo
