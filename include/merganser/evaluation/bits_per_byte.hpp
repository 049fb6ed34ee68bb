// What the labels cost in bits, for each byte of the source.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <span>

#include <merganser/core/types.hpp>
#include <merganser/evaluation/labels.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// Bits from nats.
inline double bits_from_nats(double nats) { return nats / std::numbers::ln2; }

/// -log2 softmax(logits)[label], at least 0, for one row of logits [V] and a label in [0, V).
///
/// In double, with the largest logit taken out first. Infinite when the label's logit is minus infinity; NaN when a
/// logit is NaN or plus infinity.
template <Real Scalar>
double label_bits(std::span<const Scalar> logits, TokenId label) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const Scalar logit : logits) largest = std::max(largest, static_cast<double>(logit));
  double sum = 0;
  for (const Scalar logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return bits_from_nats(std::log(sum) + (largest - static_cast<double>(logits[static_cast<std::size_t>(label)])));
}

/// bits per byte = sum over the scored labels of -log2 p(label) / bytes of the source.
///
/// The denominator is the number of source tokens that are neither the end id nor pads: each stands for one byte of the
/// source text.
/// A token that stands for several bytes (the sentinel of a corrupted span) counts as one all the same, so compare only
/// figures of the same task. Labels of the target, its end included, are all paid for. Low is good.
class BitsPerByte {
 public:
  /// Adds the labels [L] of the logits [L x V]; those that are ignored cost nothing.
  /// @throws std::invalid_argument if the sizes differ or a label is neither ignored nor in [0, V)
  template <Real Scalar>
  void add_labels(const Matrix<Scalar>& logits, std::span<const TokenId> labels) {
    check_labels("BitsPerByte::add_labels", logits, labels);
    for (std::size_t t = 0; t < labels.size(); ++t) {
      if (labels[t] == ignored_label) continue;
      bits_ += label_bits(logits_row(logits, static_cast<Index>(t)), labels[t]);
      ++labels_;
    }
  }

  /// Adds the bytes of source ids.
  void add_source(std::span<const TokenId> ids, TokenId end_id, std::optional<TokenId> pad = std::nullopt) {
    bytes_ += std::count_if(ids.begin(), ids.end(), [=](TokenId id) { return id != end_id && id != pad; });
  }

  /// Bits a source byte; 0 when nothing was paid, infinite when bits were paid for no bytes.
  double bits_per_byte() const { return bits_ == 0 ? 0.0 : bits_ / static_cast<double>(bytes_); }

  /// Bits a scored label; 0 when there is none.
  double bits_per_label() const { return labels_ == 0 ? 0.0 : bits_ / static_cast<double>(labels_); }

  double bits() const { return bits_; }
  /// Source bytes.
  Index bytes() const { return bytes_; }
  /// Scored labels.
  Index labels() const { return labels_; }

 private:
  double bits_ = 0;
  Index bytes_ = 0;
  Index labels_ = 0;
};

}  // namespace merganser::evaluation
