// How many labels, and how many whole sequences, a model gets right.
#pragma once

#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/types.hpp>
#include <merganser/evaluation/labels.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// Whether the label has the largest of the logits [V]; of equal ones the first counts. Never with NaN among them.
template <Real Scalar>
bool is_largest(std::span<const Scalar> logits, TokenId label) {
  const auto place = static_cast<std::size_t>(label);
  for (std::size_t v = 0; v < logits.size(); ++v) {
    const bool smaller = v < place ? logits[v] < logits[place] : logits[v] <= logits[place];
    if (!smaller) return false;
  }
  return true;
}

/// Token accuracy: the share of scored labels with the largest logit. Sequence accuracy: the share of the sequences
/// with at least one scored label in which all of them are right. Both in [0, 1], 0 when nothing was scored.
///
/// The tokens before each label are the true ones (teacher forcing), not those that the model would have written.
class Accuracy {
 public:
  /// Adds N sequences of labels, L in all, and their logits [L x V].
  /// @throws std::invalid_argument if the sizes differ or a label is neither ignored nor in [0, V)
  template <Real Scalar>
  void add(const Matrix<Scalar>& logits, const TokenBatch& labels) {
    check_labels("Accuracy::add", logits, labels.ids);
    check_equal("Accuracy::add", "labels.offsets.total()", labels.total(), logits.rows());
    for (Index i = 0; i < labels.count(); ++i) {
      Index scored = 0, right = 0;
      for (Index t = labels.offsets.begin(i); t < labels.offsets.end(i); ++t) {
        const TokenId label = labels.ids[t];
        if (label == ignored_label) continue;
        ++scored;
        if (is_largest(logits_row(logits, t), label)) ++right;
      }
      tokens_ += scored;
      correct_tokens_ += right;
      if (scored == 0) continue;
      ++sequences_;
      if (right == scored) ++correct_sequences_;
    }
  }

  double token_accuracy() const { return share(correct_tokens_, tokens_); }
  double sequence_accuracy() const { return share(correct_sequences_, sequences_); }

  /// Scored labels.
  Index tokens() const { return tokens_; }
  Index correct_tokens() const { return correct_tokens_; }
  /// Sequences with a scored label.
  Index sequences() const { return sequences_; }
  Index correct_sequences() const { return correct_sequences_; }

 private:
  static double share(Index part, Index whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  }

  Index tokens_ = 0, correct_tokens_ = 0;
  Index sequences_ = 0, correct_sequences_ = 0;
};

}  // namespace merganser::evaluation
