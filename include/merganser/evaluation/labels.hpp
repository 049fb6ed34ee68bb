// Which labels are scored.
#pragma once

#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// Requires one label a row of logits [L x V], each ignored or an id in [0, V).
/// @throws std::invalid_argument otherwise
template <Real Scalar>
void check_labels(const char* function, const Matrix<Scalar>& logits, std::span<const TokenId> labels) {
  check_equal(function, "labels.size()", std::ssize(labels), logits.rows());
  for (std::size_t t = 0; t < labels.size(); ++t)
    if (labels[t] != ignored_label && (labels[t] < 0 || labels[t] >= logits.cols()))
      throw_invalid_argument(function, "labels[" + std::to_string(t) + "]", labels[t],
                             "-100 or an id in [0, " + std::to_string(logits.cols()) + ")");
}

/// Row t of logits [L x V].
template <Real Scalar>
std::span<const Scalar> logits_row(const Matrix<Scalar>& logits, Index t) {
  return {logits.data() + t * logits.cols(), static_cast<std::size_t>(logits.cols())};
}

}  // namespace merganser::evaluation
