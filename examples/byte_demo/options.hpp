// What the subcommands can be asked for, with their defaults; those of `train` are in the library
// (runs/run_options.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/io/files/tensor_data.hpp>
#include <merganser/io/models/generation_settings.hpp>
#include <merganser/io/models/hf_config.hpp>
#include <merganser/runs/prompts.hpp>
#include <merganser/runs/run_options.hpp>
#include <merganser/runs/saved_model.hpp>
#include <merganser/runs/terminal.hpp>

namespace byte_demo {

using merganser::Index;
namespace data = merganser::data;
namespace evaluation = merganser::evaluation;
namespace io = merganser::io;
namespace merge = merganser::merge;
namespace models = merganser::models;
namespace runs = merganser::runs;
namespace training = merganser::training;

/// The directory of a model, and what to take for keys that the config.json of a MrT5 must have and this one lacks.
struct ModelSource {
  std::string directory;
  std::optional<Index> delete_gate_layer;
  std::optional<double> sigmoid_mask_scale, deletion_threshold;
  std::optional<io::HfConfig::DeletionType> deletion_type;
  std::vector<std::string> policies;  ///< by name, in place of the model's own; none: its own
  bool any_tokenizer = false;         ///< bytes even where files of another tokenizer lie beside the model
};

enum class OutputFormat { text, json };

/// Of every subcommand that runs something.
struct ProgramOptions {
  std::uint64_t seed = 1;
  std::optional<int> threads;
};

struct EvaluateOptions {
  ModelSource model;
  runs::DataOptions data;
  runs::RateOptions rate;
  Index windows = 512;
  ProgramOptions program;
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
  runs::TextReading reading = runs::TextReading::names;
  std::optional<Index> window;  ///< bytes; longer texts are cut; 64, or what the model has positions for
  runs::RateOptions rate;
  ProgramOptions program;
  OutputFormat format = OutputFormat::text;
  ByteView bytes = ByteView::characters;
  runs::ColorChoice color = runs::ColorChoice::automatic;
  std::string picture;  ///< a file for the text as SVG
};

enum class StreamChoice { automatic, always, never };

struct GenerateOptions {
  ModelSource model;
  std::optional<std::string> text;
  std::string input_file;  ///< a text a line
  runs::TextReading reading = runs::TextReading::names;
  runs::RateOptions rate;
  io::GenerationRequest request;  ///< with the seed of everything random
  StreamChoice stream = StreamChoice::automatic;
  std::optional<int> threads;
};

struct CalibrateOptions {
  ModelSource model;
  runs::DataOptions data;
  Index points = 10;
  double highest_rate = 0.9;
  Index windows = 512;
  ProgramOptions program;
  OutputFormat format = OutputFormat::text;
};

enum class WriteSelftest { no, yes };

struct SelftestOptions {
  ModelSource model;
  WriteSelftest write = WriteSelftest::no;
  ProgramOptions program;
};

struct FirstRunOptions {
  std::string model;  ///< a directory
  std::optional<int> threads;
  runs::ColorChoice color = runs::ColorChoice::automatic;
};

struct ConvertOptions {
  ModelSource model;
  std::string save;  ///< a directory
  runs::Overwrite overwrite = runs::Overwrite::no;
  io::DataType weights = io::DataType::bf16;
};

/// Everything else of it is in vowels.cpp.
struct VowelOptions {
  Index steps = 2500;
  ProgramOptions program;
  runs::ColorChoice color = runs::ColorChoice::automatic;
  std::string save;
  runs::Overwrite overwrite = runs::Overwrite::no;
};

// The subcommands. Each throws an exception that says in one line what is wrong.
void first_run(const FirstRunOptions& options);
void vowels(const VowelOptions& options);
void train(const runs::TrainOptions& options);
void evaluate(const EvaluateOptions& options);
void show(const ShowOptions& options);
void generate(const GenerateOptions& options);
void calibrate(const CalibrateOptions& options);
void selftest(const SelftestOptions& options);
void convert(const ConvertOptions& options);

}  // namespace byte_demo
