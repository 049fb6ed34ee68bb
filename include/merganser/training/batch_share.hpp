// What part of a training step one of its batches is.
#pragma once

#include <algorithm>
#include <optional>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/example.hpp>
#include <merganser/nn/cross_entropy.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// The part of one batch in each mean of the objective over all batches of a step, in [0, 1].
///
/// These means run over different things. So the gradients of several batches add up to that of all their examples
/// together only if each part is weighed by its own.
struct BatchShare {
  double labels = 1.0;     ///< cross entropy
  double tokens = 1.0;     ///< gate regulariser and score excess
  double sequences = 1.0;  ///< boundary prior

  BatchShare() = default;
  /// The same part of everything.
  BatchShare(double part) : labels(part), tokens(part), sequences(part) {}
};

/// What there is in a batch.
struct BatchExtent {
  Index labels = 0;     ///< that are not ignored
  Index tokens = 0;     ///< of the source that are no pads
  Index sequences = 0;  ///< of the source with such tokens

  /// @throws std::invalid_argument if the source has another number of ids than its offsets say
  static BatchExtent of(const data::Batch& batch, std::optional<TokenId> pad) {
    check_equal("BatchExtent", "batch.source.ids.size()", batch.source.ids.size(), batch.source.total());
    BatchExtent result;
    for (const TokenId label : batch.target.ids)
      if (label != ignored_label) ++result.labels;
    for (Index i = 0; i < batch.source.count(); ++i) {
      const auto ids = batch.source.sequence(i);
      const auto tokens = std::count_if(ids.begin(), ids.end(), [pad](TokenId id) { return id != pad; });
      result.tokens += tokens;
      if (tokens > 0) ++result.sequences;
    }
    return result;
  }

  BatchExtent& operator+=(const BatchExtent& more) {
    labels += more.labels;
    tokens += more.tokens;
    sequences += more.sequences;
    return *this;
  }

  /// Nothing of nothing is 0.
  BatchShare share_of(const BatchExtent& whole) const {
    const auto share = [](Index part, Index all) {
      return all == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(all);
    };
    BatchShare result;
    result.labels = share(labels, whole.labels);
    result.tokens = share(tokens, whole.tokens);
    result.sequences = share(sequences, whole.sequences);
    return result;
  }

  bool operator==(const BatchExtent&) const = default;
};

}  // namespace merganser::training
