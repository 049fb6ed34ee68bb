// A gate: what it is shown, what it says, and what it must be able to do.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include <merganser/core/marks.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

namespace detail {

inline const SequenceOffsets& no_sequences() {
  static const SequenceOffsets none;
  return none;
}

}  // namespace detail

/// A batch as a gate sees it. What is empty is not known.
template <Real Scalar>
struct GateInput {
  MatrixRef<Scalar> x;                                      ///< [T x D]
  Marks forced = {};                                        ///< [T] or none: tokens to delete (pads)
  std::span<const TokenId> ids = {};                        ///< [T]
  const SequenceOffsets& offsets = detail::no_sequences();  ///< N sequences over the T rows
  Rng* rng = nullptr;                                       ///< null where the call has none
};

/// What a gate says of T tokens.
template <Real Scalar>
struct GateValues {
  Vector<Scalar> logits;  ///< [T], before the activation; high keeps. Empty: as the values
  Vector<Scalar> values;  ///< [T], near 0 keeps, near its scale (negative) deletes
};

/// Gives a batch its gate values: `forward(const GateInput&)`, and `default_threshold()`: tokens above it are kept.
/// Soft and hard deletion, thresholds, rates and statistics come from `GatedDeletion`.
template <class G, class Scalar>
concept Gate = std::copy_constructible<G> && requires(const G& gate, const GateInput<Scalar>& input) {
  { gate.forward(input) } -> std::same_as<GateValues<Scalar>>;
  { gate.default_threshold() } -> std::convertible_to<double>;
};

/// A gate with parameters: it has a `Cache` besides, `forward(input, rng, cache)` for training,
/// `backward(grad_values, grad_logits, cache, gradients)`, either span empty where there is no gradient, which gives
/// the gradient of x [T x D], and `visit`.
template <class G, class Scalar>
concept LearnedGate = Gate<G, Scalar> &&
    requires(const G& gate, const GateInput<Scalar>& input, Rng& rng, typename G::Cache& cache,
             std::span<const Scalar> grad, G& gradients) {
  { gate.forward(input, rng, cache) } -> std::same_as<GateValues<Scalar>>;
  { gate.backward(grad, grad, cache, gradients) } -> std::same_as<Matrix<Scalar>>;
};

}  // namespace merganser::merge
