// Segments that begin where the next token is hard to foresee.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/segment_rule.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The entropy in nats of the softmax of each row of logits [n x V].
template <Real Scalar>
Vector<double> entropies_of_logits(const MatrixRef<Scalar>& logits) {
  Vector<double> entropies;
  for (Index t = 0; t < logits.rows(); ++t) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0, weighted = 0;
    for (Index v = 0; v < logits.cols(); ++v) largest = std::max(largest, static_cast<double>(logits(t, v)));
    for (Index v = 0; v < logits.cols(); ++v) {
      const double below = static_cast<double>(logits(t, v)) - largest, weight = std::exp(below);
      sum += weight;
      if (weight > 0) weighted += weight * below;
    }
    entropies.push_back(std::log(sum) - weighted / sum);
  }
  return entropies;
}

/// The patches of BLT (Pagnoni et al. 2024, arXiv 2412.09871): a token begins one where a small model of the input was
/// unsure of it.
///
/// `entropies` is that model: called with the ids of one sequence, a std::span<const TokenId> [n], it gives a
/// Vector<double> [n] of nats, in which number t is the entropy of what the model expects behind token t, and so
/// decides whether token t + 1 begins a patch. It is asked for every sequence by itself, without its pads, and must
/// answer the same for the same ids. Cost: that of the model, and n; with `top_k` n log n.
template <class Entropies>
requires std::convertible_to<std::invoke_result_t<const Entropies&, std::span<const TokenId>>, Vector<double>>
struct EntropyPatching {
  enum class Mode {
    threshold,  ///< where the entropy is above `threshold`
    monotonic,  ///< where it is more than `rise` above that of the token in front
    both,
    top_k,  ///< at the largest entropies of the sequence, so that patches have `patch_size` tokens on average
  };

  PolicyTraits traits() const { return {.is_causal = mode != Mode::top_k, .has_budget = mode == Mode::top_k}; }

  Entropies entropies = {};
  Mode mode = Mode::threshold;
  double threshold = 1.335;  ///< nats; the published one, of a model of bytes
  double rise = 0.4;         ///< nats
  Index patch_size = 4;      ///< at least 1; a call that asks for removals says how many patches there are
  /// The published code also begins a patch at the second token, whose entropy in front it never reads, with
  /// `monotonic` and `both` at the third as well, and with `both` not at the fourth.
  Starts starts = Starts::first_token;

  /// @throws std::invalid_argument if the patch size is below 1, or there is not one id and one entropy a token
  template <Real Scalar>
  Vector<std::uint8_t> marks(const Tokens<Scalar>& tokens) const {
    check_argument(patch_size >= 1, "EntropyPatching", "patch_size", patch_size, "at least 1");
    check_equal("EntropyPatching", "ids.size()", std::ssize(tokens.ids), tokens.count());
    const Vector<double> said = entropies(tokens.ids);
    check_equal("EntropyPatching", "entropies.size()", said.size(), tokens.count());
    const Index n = tokens.count();
    Vector<std::uint8_t> marks(n, 0);
    std::fill_n(marks.begin(), std::min(n, forced()), std::uint8_t{1});
    if (mode == Mode::top_k) {
      const Index patches = tokens.removals ? n - std::min(*tokens.removals, n) : n / patch_size;
      mark_largest(said, patches - forced(), marks);
      return marks;
    }
    for (Index t = forced(); t < n; ++t) marks[t] = is_start(said, t) ? 1 : 0;
    return marks;
  }

 private:
  bool is_published() const { return starts == Starts::published; }

  /// Tokens at the beginning that begin a patch in any case.
  Index forced() const {
    if (!is_published()) return 1;
    return mode == Mode::monotonic || mode == Mode::both ? 3 : 2;
  }

  bool is_start(const Vector<double>& said, Index t) const {
    if (mode == Mode::threshold) return said[t - 1] > threshold;
    const bool rises = t >= 2 && said[t - 1] - said[t - 2] > rise;
    if (mode == Mode::monotonic) return rises;
    return rises && said[t - 1] > threshold && !(is_published() && t == 3);
  }

  void mark_largest(const Vector<double>& said, Index count, Vector<std::uint8_t>& marks) const {
    const Index first = forced(), open = marks.size() - first;
    if (open <= 0 || count <= 0) return;
    Vector<double> deciding(said.begin() + (first - 1), said.begin() + (first - 1 + open));
    for (double& entropy : deciding)
      if (std::isnan(entropy)) entropy = -std::numeric_limits<double>::infinity();
    for (const Index chosen : largest<double>(deciding, std::min(count, open))) marks[first + chosen] = 1;
  }
};

}  // namespace merganser::merge
