// Requires what a model says to mean something.
#pragma once

#include <limits>
#include <string_view>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA {

/// Requires logits [L x V] to be numbers, or minus infinity for what cannot be. Others come from weights that are not
/// finite or too large, and neither a score nor a choice can be made of them.
/// @throws std::invalid_argument naming `function` if one is NaN or plus infinity
template <Real Scalar>
void check_logits(std::string_view function, const Matrix<Scalar>& logits) {
  const Scalar* const end = logits.data() + logits.size();
  for (const Scalar* logit = logits.data(); logit != end; ++logit)
    check_argument(*logit < std::numeric_limits<Scalar>::infinity(), function, "logits", *logit,
                   "numbers; are the model's weights finite, and none far too large?");
}

}  // namespace merganser
