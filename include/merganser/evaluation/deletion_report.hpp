// Which tokens of a text a model deletes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// What one gate said of every token of the text; empty for those that did not reach it.
struct GateView {
  Index block = 0;
  double threshold = 0.0;
  std::vector<std::optional<double>> values;  ///< [t]
};

/// What became of the tokens of a text.
struct DeletionReport {
  std::vector<std::uint8_t> kept;  ///< [t], not 0 where the token survived
  std::vector<GateView> gates;     ///< in block order
  Index tokens = 0;                ///< of the text, and the end of every window
  Index deleted_tokens = 0;

  /// Deleted tokens of all tokens, in [0, 1].
  double deletion_rate() const { return static_cast<double>(deleted_tokens) / static_cast<double>(tokens); }

  /// Of the text, without ends.
  Index deleted() const { return static_cast<Index>(std::count(kept.begin(), kept.end(), std::uint8_t{0})); }
};

namespace detail {

/// The tokens that a window's rows stand for begin at `begin`; its last row is the end of sequence.
template <class Encoded>
void add_window(const Encoded& encoded, std::size_t begin, Index length, DeletionReport& report) {
  for (const Index row : encoded.origin)
    if (row < length) report.kept[begin + static_cast<std::size_t>(row)] = 1;
  report.tokens += length + 1;
  report.deleted_tokens += length + 1 - encoded.origin.size();
  Vector<Index> row_of(length + 1);  // of each token that reaches the policy
  std::iota(row_of.begin(), row_of.end(), Index{0});
  std::size_t g = 0;
  for (const auto& said : encoded.reports) {
    if (said.is_gate) {
      if (report.gates.size() <= g) report.gates.push_back({said.block, said.threshold, {}});
      std::vector<std::optional<double>>& values = report.gates[g++].values;
      values.resize(report.kept.size());
      for (Index i = 0; i < row_of.size(); ++i)
        if (row_of[i] < length)
          values[begin + static_cast<std::size_t>(row_of[i])] = static_cast<double>(said.scores[i]);
    }
    Vector<Index> survivors;
    for (const Index kept : said.kept) survivors.push_back(row_of[kept]);
    row_of = std::move(survivors);
  }
}

}  // namespace detail

/// Runs the encoder with hard deletion over the text, cut into windows of so many tokens, each with the end that the
/// model's Config names behind it; an empty text is one window. Of policies that merge tokens, those are kept that lend
/// a row its position.
/// @param text [t] ids without an end
/// @param seed of a random gate
/// @throws std::invalid_argument if the window is below 1
template <class Model>
DeletionReport report_deletion(const Model& model, std::span<const TokenId> text, Index window,
                               const merge::DeletionOptions& deletion, std::uint64_t seed) {
  check_argument(window >= 1, "report_deletion", "window", window, "at least 1");
  DeletionReport report;
  report.kept.resize(text.size(), 0);
  Rng rng(seed);
  typename Model::ForwardOptions options;
  options.deletion = deletion;
  options.rng = &rng;
  std::size_t begin = 0;
  do {
    const auto piece = text.subspan(begin, std::min(static_cast<std::size_t>(window), text.size() - begin));
    Vector<TokenId> ids;
    ids.append(piece.begin(), piece.end());
    ids.push_back(model.config().end);
    TokenBatch source;
    source.push_back(ids);
    detail::add_window(model.encode(source, options), begin, std::ssize(piece), report);
    begin += piece.size();
  } while (begin < text.size());
  return report;
}

}  // namespace merganser::evaluation
