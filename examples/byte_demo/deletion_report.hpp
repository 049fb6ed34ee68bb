// Which tokens of a text a model deletes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <model.hpp>

namespace byte_demo {

/// What one gate said of every token of the text; empty for those that did not reach it.
struct GateView {
  Index block = 0;
  double threshold = 0.0;
  std::vector<std::optional<double>> values;  ///< [t]
};

struct DeletionReport {
  std::vector<std::uint8_t> kept;  ///< [t], not 0 where the token survived
  std::vector<GateView> gates;
  Index tokens = 0;  ///< of the text, and the end of every window
  Index deleted_tokens = 0;
  double deletion_rate = 0.0;  ///< deleted tokens of all tokens

  Index deleted() const;  ///< of the text, without ends
};

/// Runs the encoder with hard deletion over the text, cut into windows of so many tokens; an empty text is one window.
/// @param text ids without an end
DeletionReport report_deletion(const Model& model, std::span<const merganser::TokenId> text, Index window,
                               const merge::DeletionOptions& options, std::uint64_t seed);

}  // namespace byte_demo
