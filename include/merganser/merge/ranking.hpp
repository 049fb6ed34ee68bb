// Tokens in the order of their scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The numbers of all tokens, the one of largest score first, of equal ones the first; a score that is no number is
/// below all others. Cost: n log n.
template <Real Scalar>
Vector<Index> ranked(std::span<const Scalar> scores) {
  const auto value = [&](Index token) {
    const Scalar own = scores[static_cast<std::size_t>(token)];
    return std::isnan(own) ? -std::numeric_limits<Scalar>::infinity() : own;
  };
  Vector<Index> order(std::ssize(scores));
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(),
            [&](Index a, Index b) { return value(a) != value(b) ? value(a) > value(b) : a < b; });
  return order;
}

}  // namespace merganser::merge
