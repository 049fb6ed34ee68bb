// A policy between two layers of an encoder of anyone's own: forwards while training, and back.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/merge/policy.hpp>
#include <merganser/models/encoder_output.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// One application of a policy, with the cache of its own backward pass. `BlockStack` does the same between its blocks.
template <Real Scalar>
class PolicyStep {
 public:
  /// The vectors of all tokens [T x D] become those of the T' that are left. What is known of them, with the key bias
  /// that soft deletion leaves, and what objective and statistics need go into `tokens` and `output`. In the mode
  /// `none` nothing happens, unless the policy is structural.
  /// @param ids [T] of the tokens, or empty
  /// @throws std::invalid_argument as the policy
  Matrix<Scalar> forward(const merge::Policy<Scalar>& policy, Matrix<Scalar> x, std::span<const TokenId> ids,
                         const merge::DeletionOptions& options, Rng& rng, merge::TokenState<Scalar>& tokens,
                         EncoderOutput<Scalar>& output) {
    acted_ = options.mode != merge::DeletionMode::none || policy.traits().is_structural;
    if (!acted_) return x;
    report_ = output.reports.size();
    const merge::PolicyContext<Scalar> context{tokens, options, ids};
    merge::Reduction<Scalar> reduced = policy.forward(std::move(x), context, rng, cache_);
    output.deletion = reduced.report.deletion();
    output.reports.push_back(std::move(reduced.report));
    tokens = std::move(reduced.state);
    return std::move(reduced.x);
  }

  /// The gradient of `forward`'s result [T' x D] becomes that of its argument [T x D]; the policy's own is added to.
  /// @param grad_bias of the key bias after the step, [T'] or empty
  /// @param grad_reports of the loss with respect to the reports of `output`, as an objective gives them, or none
  Matrix<Scalar> backward(const merge::Policy<Scalar>& policy, Matrix<Scalar> grad, std::span<const Scalar> grad_bias,
                          const Vector<merge::ReportGradient<Scalar>>& grad_reports,
                          merge::Policy<Scalar>& gradients) const {
    if (!acted_) return grad;
    merge::ReductionGradient<Scalar> behind{std::move(grad), {grad_bias.begin(), grad_bias.end()}, {}};
    if (report_ < grad_reports.size()) behind.report = grad_reports[report_];
    return policy.backward(std::move(behind), cache_, gradients).x;
  }

 private:
  typename merge::Policy<Scalar>::Cache cache_;
  Index report_ = 0;
  bool acted_ = false;
};

}  // namespace merganser::models
