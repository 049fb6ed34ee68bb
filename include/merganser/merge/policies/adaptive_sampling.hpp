// Tokens sampled by the inverse of their cumulative score: as many as the input needs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/ranking.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Scores are attention times the length of a token's value; samples stand evenly along their cumulative sum, and every
/// token that is nearest to one of them stays. A token of large score takes several samples: so the budget is the least
/// that goes, and more goes where few tokens hold the attention.
///
/// ATS (Fayyaz et al. 2022, arXiv 2111.15667), without its random numbers, as published for inference. Stands behind
/// attention. Cost: of the class token 2 n H K, else half an attention.
struct AdaptiveSampling {
  enum class Score {
    class_token,  ///< the attention of the first token, which stays; as published
    received,     ///< what a token receives from all
  };

  PolicyTraits traits() const {
    return {.needs_class_token = score == Score::class_token, .has_budget = true, .reads_attention = true};
  }

  Budget budget = {};
  Score score = Score::received;

  /// @throws std::invalid_argument if it does not stand behind attention or a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    const Index n = tokens.count(), first = std::min<Index>(score == Score::class_token ? 1 : 0, n), open = n - first;
    Vector<Index> kept;
    if (first == 1) kept.push_back(0);
    for (const Index token : sampled(scores(tokens), open - std::min(budget.removals(n, tokens.removals), open)))
      kept.push_back(first + token);
    return MergePlan<Scalar>::keeping(kept, n);
  }

  /// [n], or without the class token [n - 1]: adding up to 1.
  template <Real Scalar>
  Vector<Scalar> scores(const Tokens<Scalar>& tokens) const {
    if (tokens.count() == 0) return {};
    const bool by_class = score == Score::class_token;
    const Matrix<Scalar> weights = by_class ? tokens.attention_of(0) : tokens.received();
    const Matrix<Scalar> values = tokens.values();
    Vector<Scalar> result;
    for (Index t = by_class ? 1 : 0; t < tokens.count(); ++t)
      result.push_back(weights.col(t).sum() * values.row(t).norm());
    const Scalar sum = std::accumulate(result.begin(), result.end(), Scalar{0});
    for (Scalar& value : result) value = sum > 0 ? value / sum : Scalar{1} / static_cast<Scalar>(result.size());
    return result;
  }

 private:
  /// The tokens, rising, that are nearest to one of so many samples.
  template <Real Scalar>
  static Vector<Index> sampled(const Vector<Scalar>& scores, Index samples) {
    const Index n = scores.size();
    if (n == 0 || samples == 0) return {};
    Vector<Scalar> lowness;
    for (const Scalar score : scores) lowness.push_back(-score);
    const Vector<Index> order = ranked<Scalar>(lowness);  // of equal ones the first in front
    Vector<Scalar> height;                                // of each token in the order of scores, from 0 to 1
    for (const Index token : order) height.push_back((height.empty() ? Scalar{0} : height.back()) + scores[token]);
    const Scalar low = height.front(), range = height.back() - low;
    for (Scalar& value : height) value = range > 0 ? (value - low) / range : Scalar{1};
    const auto above = std::find_if(height.begin(), height.end(), [](Scalar value) { return value > 0; });
    const Scalar start = above != height.end() ? *above : Scalar{1};
    Vector<std::uint8_t> stays(n, 0);
    for (Index i = 0; i < samples; ++i) {
      const Scalar share = samples > 1 ? static_cast<Scalar>(i) / static_cast<Scalar>(samples - 1) : Scalar{1};
      const Scalar sample = start + share * (1 - start);
      const auto nearer = [&](Scalar a, Scalar b) { return std::abs(a - sample) < std::abs(b - sample); };
      stays[order[std::min_element(height.begin(), height.end(), nearer) - height.begin()]] = 1;
    }
    Vector<Index> kept;
    for (Index token = 0; token < n; ++token)
      if (stays[token] != 0) kept.push_back(token);
    return kept;
  }
};

}  // namespace merganser::merge
