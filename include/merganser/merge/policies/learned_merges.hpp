// Segments of tokens that often stand side by side.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/segment_rule.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Adjacent tokens are one segment where a table of merges, learned once from a sample, says so: dynamic tokenization
/// (Feher et al. 2024, arXiv 2411.18553), whose table is learned from every batch anew, so that there a sequence
/// depends on those beside it. Not causal: whether a token joins the one in front may hang on the one behind.
///
/// A symbol is a token or what a merge made of two symbols. Cost: n for each different merge that a sequence has.
class LearnedMerges {
 public:
  static constexpr PolicyTraits traits{};

  using Symbol = std::int64_t;  ///< a token id, or `first_merged` + the number of a merge
  using Pair = std::pair<Symbol, Symbol>;
  static constexpr Symbol first_merged = Symbol{1} << 32;

  LearnedMerges() = default;

  /// @throws std::invalid_argument if a pair has a symbol that is no token and not made by a merge in front, or is
  /// there twice
  explicit LearnedMerges(Vector<Pair> merges) : merges_(std::move(merges)) {
    for (Index number = 0; number < merges_.size(); ++number) {
      const auto& [left, right] = merges_[number];
      for (const Symbol symbol : {left, right})
        check_argument(
            symbol <= std::numeric_limits<TokenId>::max() || (symbol >= first_merged && symbol < first_merged + number),
            "LearnedMerges", "symbol", symbol, "a token, or what a merge in front makes");
      check_argument(numbers_.emplace(merges_[number], number).second, "LearnedMerges", "merges", number,
                     "pairs that differ");
    }
  }

  /// So many merges, or fewer: each joins the pair of adjacent symbols that is most frequent in the sample as the
  /// merges in front of it have left it, of equally frequent ones the lowest, if it is there twice at least. Cost: the
  /// tokens of the sample for each merge.
  /// @throws std::invalid_argument if the number of merges is negative
  static LearnedMerges learn(std::span<const Vector<TokenId>> sample, Index merges) {
    check_argument(merges >= 0, "LearnedMerges::learn", "merges", merges, "at least 0");
    Vector<Vector<Symbol>> texts;
    for (const Vector<TokenId>& ids : sample) texts.emplace_back(ids.begin(), ids.end());
    Vector<Pair> learned;
    while (learned.size() < merges) {
      std::map<Pair, Index> counts;
      for (const Vector<Symbol>& text : texts) count_pairs(text, counts);
      const auto most = std::max_element(counts.begin(), counts.end(),
                                         [](const auto& a, const auto& b) { return a.second < b.second; });
      if (most == counts.end() || most->second < 2) break;
      const Symbol made = first_merged + learned.size();
      learned.push_back(most->first);
      for (Vector<Symbol>& text : texts) join(most->first, made, text, nullptr);
    }
    return LearnedMerges(std::move(learned));
  }

  /// In their order.
  const Vector<Pair>& merges() const { return merges_; }

  /// All merges, one after the other, each from left to right.
  /// @throws std::invalid_argument if there is not one id a token
  template <Real Scalar>
  Vector<std::uint8_t> marks(const Tokens<Scalar>& tokens) const {
    check_equal("LearnedMerges", "ids.size()", std::ssize(tokens.ids), tokens.count());
    Vector<Symbol> text(tokens.ids.begin(), tokens.ids.end());
    Vector<Index> begins(text.size());
    for (Index t = 0; t < begins.size(); ++t) begins[t] = t;
    // A pair that a merge makes possible is of a later merge: the first of those that are there comes next.
    for (Index next = first_of(text); next < merges_.size(); next = first_of(text))
      join(merges_[next], first_merged + next, text, &begins);
    Vector<std::uint8_t> marks(tokens.count(), 0);
    for (const Index begin : begins) marks[begin] = 1;
    return marks;
  }

 private:
  /// Adds the pairs of a text; those that overlap, as in a a a, count once, as they are joined.
  static void count_pairs(const Vector<Symbol>& text, std::map<Pair, Index>& counts) {
    Index counted = -2;  // where the last pair of equal symbols began
    for (Index t = 0; t + 1 < text.size(); ++t) {
      if (text[t] == text[t + 1] && counted == t - 1 && text[t - 1] == text[t]) continue;
      counted = t;
      ++counts[{text[t], text[t + 1]}];
    }
  }

  /// Replaces the pair in the text by what it makes; `begins` [symbols] or null: where each symbol begins.
  static void join(const Pair& pair, Symbol made, Vector<Symbol>& text, Vector<Index>* begins) {
    Index to = 0;
    for (Index t = 0; t < text.size(); ++t, ++to) {
      if (begins != nullptr) (*begins)[to] = (*begins)[t];
      const bool is_pair = t + 1 < text.size() && text[t] == pair.first && text[t + 1] == pair.second;
      text[to] = is_pair ? made : text[t];
      if (is_pair) ++t;
    }
    text.resize(to);
    if (begins != nullptr) begins->resize(to);
  }

  /// The first merge whose pair is in the text; behind all if there is none.
  Index first_of(const Vector<Symbol>& text) const {
    Index first = merges_.size();
    for (Index t = 0; t + 1 < text.size(); ++t)
      if (const auto found = numbers_.find({text[t], text[t + 1]}); found != numbers_.end())
        first = std::min(first, found->second);
    return first;
  }

  Vector<Pair> merges_;
  std::map<Pair, Index> numbers_;
};

}  // namespace merganser::merge
