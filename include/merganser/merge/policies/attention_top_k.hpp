// The tokens that attention looks at most stay.
#pragma once

#include <algorithm>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Keeps the tokens of largest score, averaged over heads:
///
/// - EViT (Liang et al. 2022, arXiv 2202.07800): the attention of a class token, and the others fused to one token;
/// - PoWER-BERT (Goyal et al. 2020, arXiv 2001.08950): what a token receives from all others;
/// - Length-Adaptive Transformer (Kim and Cho 2021, arXiv 2010.07003): what it receives from all.
///
/// Stands behind attention. Cost: of the class token 2 n H K, else half an attention.
struct AttentionTopK {
  enum class Score {
    received,              ///< from all tokens
    received_from_others,  ///< without its own
    class_token,           ///< from the first token, which stays
  };
  enum class Rest {
    dropped,
    fused_mean,  ///< one token more, their mean by score, at the place of the first of them
    fused_sum,   ///< the published form: their sum by score, whose length grows with them
  };

  PolicyTraits traits() const {
    return {.needs_class_token = score == Score::class_token, .has_budget = true, .reads_attention = true};
  }

  Budget budget = {};
  Score score = Score::received;
  Rest rest = Rest::dropped;
  Index protected_rows = 0;  ///< tokens at the beginning that stay, whatever their score

  /// @throws std::invalid_argument if it does not stand behind attention or a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(protected_rows >= 0, "AttentionTopK", "protected_rows", protected_rows, "at least 0");
    const Index n = tokens.count(), first = std::min(std::max(protected_rows, Index{score == Score::class_token}), n);
    const Vector<Scalar> scores = received(tokens);
    Index gone = std::min(budget.removals(n, tokens.removals), n - first);
    const bool fuses = rest != Rest::dropped && gone > 0 && gone < n - first;
    if (fuses) ++gone;  // the fused row takes its place
    const std::span<const Scalar> open = std::span<const Scalar>(scores).subspan(static_cast<std::size_t>(first));
    Vector<std::uint8_t> stays(n, 0);
    std::fill_n(stays.begin(), first, std::uint8_t{1});
    for (const Index kept : largest<Scalar>(open, n - first - gone)) stays[first + kept] = 1;
    return planned(scores, stays, fuses);
  }

  /// [n]: the score of each token, a mean over heads.
  template <Real Scalar>
  Vector<Scalar> received(const Tokens<Scalar>& tokens) const {
    if (tokens.count() == 0) return {};
    const Matrix<Scalar> heads =
        score == Score::class_token
            ? tokens.attention_of(0)
            : tokens.received({}, score == Score::received ? nn::OwnWeight::counted : nn::OwnWeight::left_out);
    Vector<Scalar> scores;
    for (Index t = 0; t < heads.cols(); ++t) scores.push_back(heads.col(t).sum() / static_cast<Scalar>(heads.rows()));
    return scores;
  }

 private:
  template <Real Scalar>
  MergePlan<Scalar> planned(const Vector<Scalar>& scores, const Vector<std::uint8_t>& stays, bool fuses) const {
    MergePlan<Scalar> plan(scores.size());
    Scalar sum = 0;
    for (Index t = 0; t < scores.size(); ++t) sum += stays[t] != 0 ? Scalar{0} : scores[t];
    const Scalar share = rest == Rest::fused_mean && sum > 0 ? Scalar{1} / sum : Scalar{1};
    bool fused = !fuses;
    for (Index t = 0; t < scores.size(); ++t) {
      if (stays[t] != 0) plan.keep(t);
      if (stays[t] != 0 || fused) continue;
      fused = true;
      plan.open(t);
      for (Index other = t; other < scores.size(); ++other)
        if (stays[other] == 0) plan.add(other, scores[other] * share);
    }
    return plan;
  }
};

}  // namespace merganser::merge
