// Segments that carry the same number of bits.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <numbers>
#include <span>
#include <type_traits>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/segment_rule.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Windows of equal information (Lester et al. 2024, arXiv 2404.03626): as many tokens make up a segment as a small
/// model of the input can write down in `bits` bits. A token that does not fit any more begins the next one; one that
/// needs more bits by itself stands alone.
///
/// `log_probabilities` is that model: called with the ids of one sequence, a std::span<const TokenId> [n], it gives a
/// Vector<double> [n], in nats: of each token given those in front of it. It is asked for every sequence by itself,
/// without its pads, and must answer the same for the same ids. (In the paper the model forgets at the end of a window
/// what was in front of it; this one need not.) Cost: that of the model, and n.
template <class LogProbabilities>
requires std::convertible_to<std::invoke_result_t<const LogProbabilities&, std::span<const TokenId>>, Vector<double>>
struct EqualInformation {
  static constexpr PolicyTraits traits{.is_causal = true};

  LogProbabilities log_probabilities = {};
  double bits = 16;  ///< positive

  /// @throws std::invalid_argument if bits are not positive, or there is not one id and one probability a token
  template <Real Scalar>
  Vector<std::uint8_t> marks(const Tokens<Scalar>& tokens) const {
    check_argument(bits > 0, "EqualInformation", "bits", bits, "a positive number");
    check_equal("EqualInformation", "ids.size()", std::ssize(tokens.ids), tokens.count());
    const Vector<double> said = log_probabilities(tokens.ids);
    check_equal("EqualInformation", "log_probabilities.size()", said.size(), tokens.count());
    Vector<std::uint8_t> marks(tokens.count(), 0);
    double sum = 0;
    for (Index t = 0; t < marks.size(); ++t) {
      const double own = -said[t] / std::numbers::ln2;
      const bool fits = t > 0 && sum + own <= bits;  // what is no number does not
      marks[t] = fits ? 0 : 1;
      sum = fits ? sum + own : own;
    }
    return marks;
  }
};

}  // namespace merganser::merge
