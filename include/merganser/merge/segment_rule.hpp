// Rules that say where the segments of a sequence begin.
#pragma once

#include <concepts>
#include <cstdint>

#include <merganser/core/marks.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Says where the segments of one sequence begin: `Vector<std::uint8_t> marks(const Tokens&) const`, [n], not 0 where a
/// token BEGINS a segment. The first token begins one, whatever its mark. (Boundaries of dynamic pooling mark ends;
/// `starts_behind` makes starts of them.)
///
/// A rule says in its traits whether it is causal, so that a mark hangs on no token behind it, and whether it has a
/// budget.
template <class R, class Scalar>
concept SegmentRule = std::copy_constructible<R> && requires(const R& rule, const Tokens<Scalar>& tokens) {
  { rule.marks(tokens) } -> std::same_as<Vector<std::uint8_t>>;
};

/// Which tokens begin a segment whatever a rule reads.
enum class Starts {
  first_token,  ///< the first
  published,    ///< the first and the second, as in the code of BLT
};

/// Marks of segments that begin behind those that end at the given tokens [n].
inline Vector<std::uint8_t> starts_behind(Marks ends) {
  Vector<std::uint8_t> starts(ends.size(), 0);
  for (Index t = 0; t < ends.size(); ++t) starts[t] = t == 0 || ends[t - 1] ? 1 : 0;
  return starts;
}

/// Calls visit(first token, behind the last) for every segment, in order.
template <class Visit>
void for_each_segment(Marks starts, Visit&& visit) {
  Index begin = 0;
  for (Index t = 1; t <= starts.size(); ++t) {
    if (t < starts.size() && !starts[t]) continue;
    visit(begin, t);
    begin = t;
  }
}

/// One segment: all that there is.
struct WholeSequence {
  static constexpr PolicyTraits traits{.is_causal = true};

  template <Real Scalar>
  Vector<std::uint8_t> marks(const Tokens<Scalar>& tokens) const {
    Vector<std::uint8_t> starts(tokens.count(), 0);
    if (!starts.empty()) starts[0] = 1;
    return starts;
  }
};

}  // namespace merganser::merge
