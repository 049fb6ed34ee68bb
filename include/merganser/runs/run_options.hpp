// What a training run is made of: data, model, recipe, and where it goes.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/nn/score_bound.hpp>
#include <merganser/training/recipe.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// A file of one language; no name: the only one.
struct TextFile {
  std::string language, path;

  bool operator==(const TextFile&) const = default;
};

/// Where examples come from: texts, pairs of texts, labelled texts, or a task that makes its own. Empty: not given.
struct DataOptions {
  std::vector<TextFile> texts, pairs, labels;  ///< at most one of them has files
  std::vector<TextFile> valid;                 ///< to evaluate on; without any a tenth of every file is held back
  std::string task;
  std::optional<Index> window;           ///< bytes; 64 for texts, 32 letters for generated tasks
  std::optional<Index> shortest_window;  ///< bytes of the shortest texts to train on; 16, or a shorter `window`
  std::optional<double> noise;           ///< of denoising: chance of a byte to be masked, 0.1
};

inline constexpr Index default_text_window = 64;      // bytes
inline constexpr Index default_shortest_window = 16;  // bytes; of a text to train on
inline constexpr Index default_letters = 32;          // of a generated task
inline constexpr double default_noise = 0.1;

/// Of a model that starts from none.
struct ModelSizes {
  Index width = 96, heads = 4, head_width = 24, feed_forward = 192;
  Index encoder_blocks = 4, decoder_blocks = 1;
};
inline constexpr ModelSizes default_sizes;

enum class GateChoice { none, learned, random, fixed };

/// What is empty is as in the model to start from; without one, as `default_sizes` and `design_model` have it.
struct ModelOptions {
  std::optional<Index> width, heads, head_width, feed_forward;
  std::optional<Index> encoder_blocks, decoder_blocks;
  std::vector<Index> gate_blocks;  ///< gates stand on entry to these; none given: block 2, or the last of fewer
  std::optional<GateChoice> gate;
  std::optional<io::PoolingConfig> pooling;  ///< in place of gates; its block is theirs
  std::optional<nn::ScoreBoundKind> score_bound;
  std::optional<double> score_bound_value;
  std::optional<merge::GateNoise> gate_noise;
  std::vector<std::string> policies;  ///< by name, in front of the gates; see runs/named_policies.hpp
  std::string start_from;             ///< a model directory, whose configuration and weights come first
};

/// Whether a model may be saved in the place of another.
enum class Overwrite { no, yes };

struct TrainOptions {
  DataOptions data;
  ModelOptions model;
  training::Recipe recipe;
  std::optional<Index> steps;  ///< `default_steps` unless steps or minutes are given
  std::optional<double> minutes;
  std::uint64_t seed = 1;
  std::optional<int> threads;

  Index windows = 512;    ///< most sequences of the evaluation at the end
  std::string save, log;  ///< empty: not given
  Overwrite overwrite = Overwrite::no;
  Index log_every = 1;  ///< steps

  std::string checkpoints, resume;  ///< a directory; at most one is given
  std::string checkpoint;           ///< the one in `resume` to go on from
  Index checkpoint_every = 500;     ///< steps
  Index keep = 3;                   ///< checkpoints, the best one besides

  std::set<std::string> given;  ///< names of the options that somebody has given, to say so if one has no effect
};

inline constexpr Index default_steps = 2500;

}  // namespace merganser::runs
