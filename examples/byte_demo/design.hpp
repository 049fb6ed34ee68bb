// What a model to train is to be: that of a directory, or the one of the demo, with what the command line says.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/models/warm_start.hpp>

#include <model.hpp>
#include <options.hpp>

namespace byte_demo {

struct Design {
  Model::Config config;
  std::optional<Model> start;            ///< the model to start from
  std::string directory;                 ///< of that model
  std::vector<std::string> differences;  ///< from that model, as the options want it: a line each
  double embedding_deviation = 0.3;

  /// Empty: no gate.
  std::optional<merge::GateKind> gate() const;
};

/// The whole configuration of the model to start from, whatever it is; what an option names is as the option says.
/// Without such a model: the defaults.
/// @param target the rate of a gate that does not learn; empty: not given
/// @throws merganser::IoError if the model to start from is not there or reads no bytes
/// @throws std::invalid_argument if an option names another size than its weights have, or blocks that there are not
Design design_model(const ModelOptions& options, std::optional<double> target);

/// The model as it begins: random weights, and all that the model to start from has a tensor for.
Model make_model(Design design, std::uint64_t seed);

/// The weights of the model to start from, if there is one; of a model of another kind, embedding and encoder.
/// @throws merganser::IoError if it has other sizes
template <class Trained>
void start(Trained& model, Design design) {
  if (!design.start) return;
  try {
    models::warm_start(model, *std::move(design.start));
  } catch (const std::invalid_argument& error) {
    throw merganser::IoError(design.directory, "model", error.what(), "one of the same sizes");
  }
}

}  // namespace byte_demo
