// Which bytes of a text a model deletes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <model.hpp>

namespace byte_demo {

/// What one gate said of every byte of the text; empty for those that did not reach it.
struct GateView {
  Index block = 0;
  double threshold = 0.0;
  std::vector<std::optional<double>> values;  ///< [bytes]
};

struct DeletionReport {
  std::vector<std::uint8_t> kept;  ///< [bytes], not 0 where the byte survived
  std::vector<GateView> gates;
  Index tokens = 0;  ///< bytes and the end of every window
  Index deleted_tokens = 0;
  double deletion_rate = 0.0;  ///< deleted tokens of all tokens

  Index deleted_bytes() const;
};

/// Runs the encoder with hard deletion over the text, cut into windows of so many bytes; an empty text is one window.
DeletionReport report_deletion(const Model& model, std::string_view text, Index window,
                               const merge::DeletionOptions& options, std::uint64_t seed);

}  // namespace byte_demo
