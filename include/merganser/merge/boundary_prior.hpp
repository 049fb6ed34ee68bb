// The loss that holds the number of boundaries near its expected share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Value of a loss on boundaries and its gradient.
template <Real Scalar>
struct BoundaryPriorResult {
  double value = 0.0;              ///< of the prior nats a token
  Vector<Scalar> grad_boundaries;  ///< [T]
};

/// The mean over sequences of -log Binomial(k; n, prior) / n, with k boundaries among n tokens.
///
/// boundaries [T], not 0 at the end of a segment; trials [N]: n of every sequence, which is left out of the mean when
/// it is 0; prior in (0, 1): the expected share of boundaries. Between whole numbers k! is Gamma(k + 1): so the
/// gradient of k, which every boundary of the sequence receives, is (H_k - H_{n-k} - log(prior / (1 - prior))) / n with
/// harmonic numbers H. Nawrot et al. 2023, arXiv 2211.09761; Kallini et al. 2025, arXiv 2410.20771 (BPT5).
/// @throws std::invalid_argument if a length differs, a sequence has more boundaries than trials, or the prior is
/// outside (0, 1)
template <Real Scalar>
BoundaryPriorResult<Scalar> boundary_prior_loss(Marks boundaries, const SequenceOffsets& offsets,
                                                std::span<const Index> trials, double prior) {
  check_equal("boundary_prior_loss", "boundaries.size()", boundaries.size(), offsets.total());
  check_equal("boundary_prior_loss", "trials.size()", std::ssize(trials), offsets.count());
  check_argument(prior > 0 && prior < 1, "boundary_prior_loss", "prior", prior, "in (0, 1)");
  const auto sequences =
      static_cast<double>(std::count_if(trials.begin(), trials.end(), [](Index n) { return n > 0; }));
  BoundaryPriorResult<Scalar> result;
  result.grad_boundaries.assign(offsets.total(), Scalar{0});
  for (Index i = 0; i < offsets.count(); ++i) {
    const Index tokens = trials[static_cast<std::size_t>(i)];
    const Index ends = boundaries.of(offsets.range(i)).count();
    check_argument(ends <= tokens, "boundary_prior_loss", "trials", tokens, "at least as many as there are boundaries");
    if (tokens == 0) continue;
    double log_ways = 0, slope = -std::log(prior) + std::log1p(-prior);  // log (n choose k), d loss / d k
    const double n = static_cast<double>(tokens), k = static_cast<double>(ends);
    for (Index j = 1; j <= ends; ++j) {
      log_ways += std::log(static_cast<double>(tokens - ends + j) / static_cast<double>(j));
      slope += 1 / static_cast<double>(j);
    }
    for (Index j = 1; j <= tokens - ends; ++j) slope -= 1 / static_cast<double>(j);
    result.value -= (log_ways + k * std::log(prior) + (n - k) * std::log1p(-prior)) / (n * sequences);
    std::fill_n(result.grad_boundaries.begin() + offsets.begin(i), offsets.length(i),
                static_cast<Scalar>(slope / (n * sequences)));
  }
  return result;
}

}  // namespace merganser::merge
