// A stack of blocks with policies between them: tokens go in, fewer come out.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/merge/token_state.hpp>
#include <merganser/models/encoder_block.hpp>
#include <merganser/models/encoder_output.hpp>
#include <merganser/models/stack_config.hpp>
#include <merganser/nn/recorded_attention.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// Blocks, and policies on entry to them or behind their attention. Without position encoding and final norm, which
/// `Encoder` adds.
template <Real Scalar>
class BlockStack {
 public:
  using State = merge::TokenState<Scalar>;
  using Placement = merge::Placement<Scalar>;
  using Reports = Vector<merge::PolicyReport<Scalar>>;

  struct Cache {
    Vector<State> states;  ///< that the tokens pass through: at the start, and behind each policy that acted
    Vector<Index> acted;   ///< places in `policies` of those that did, in their order
    Vector<typename merge::Policy<Scalar>::Cache> policies;  ///< one a placement
    Vector<typename EncoderBlock<Scalar>::Cache> blocks;
    nn::DistanceBias<Scalar> position_bias;
    std::optional<double> excess_limit;  ///< set beforehand by whoever wants excess measured
  };

  /// What accompanies the tokens of a call.
  struct Call {
    const merge::DeletionOptions& options;
    std::span<const TokenId> ids = {};  ///< [T] of the incoming tokens, or empty
    const nn::DistanceBias<Scalar>& position_bias;
    Rng* rng = nullptr;  ///< inference: for random policies; training: for everything
  };

  struct Output {
    Output(Matrix<Scalar> rows, State start) : x(std::move(rows)), state(std::move(start)), group(state.origin) {
      alive.assign(state.total(), 1);
    }

    Matrix<Scalar> x;  ///< [T' x D]
    State state;
    Reports reports;
    Vector<Index> group;         ///< [T] as in EncoderOutput
    Vector<std::uint8_t> alive;  ///< [T] not 0 for tokens that stand for a row; soft: that would under hard deletion
  };

  BlockStack() = default;

  /// @throws std::invalid_argument if a policy stands at a block that does not exist
  BlockStack(const StackConfig& config, Vector<Placement> placements, nn::Weights weights)
      : blocks(Vector<EncoderBlock<Scalar>>::made_of(config.blocks, config, weights)), policies(std::move(placements)) {
    merge::check_placements("BlockStack", policies, config.blocks);
  }

  void prepare_for_inference(kernels::Precision precision) {
    for (EncoderBlock<Scalar>& block : blocks) block.prepare_for_inference(precision);
  }

  /// x [T x D] in a state. With a null pointer for a cache: inference.
  template <class CachePointer>
  Output run(Matrix<Scalar> x, State start, const Call& call, CachePointer cache) const;

  /// grad_x [T' x D] and grad_bias [T'] or empty; reports: one a report of the call, or none; excess_weight as in
  /// `Encoder::backward`. Adds to `grad_position_bias` and returns the gradient of x [T x D].
  Matrix<Scalar> backward(Matrix<Scalar> grad_x, std::span<const Scalar> grad_bias,
                          std::span<const merge::ReportGradient<Scalar>> reports, double excess_weight,
                          const Cache& cache, nn::DistanceBias<Scalar>& grad_position_bias,
                          BlockStack& gradients) const;

  /// The first block in front of or in which a gate stands; without gates the number of blocks.
  Index first_gated_block() const {
    Index first = blocks.size();
    for (const Placement& placement : policies)
      if (placement.policy.traits().is_gate) first = std::min(first, placement.block);
    return first;
  }

  /// Blocks in order, behind each the policies that stand at it; those behind the last block at the end.
  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    for (Index b = 0; b <= blocks.size(); ++b) {
      const ParameterName name = prefix + "block." + std::to_string(b) + ".";
      if (b < blocks.size()) blocks[b].visit(visitor, name);
      Index number = 0;  // a second policy of a block needs names of its own, where both have tensors
      for (Placement& placement : policies) {
        if (placement.block != b) continue;
        placement.policy.visit(visitor, number == 0 ? name : name + "policy." + std::to_string(number) + ".");
        if (!parameter_views(placement.policy, ParameterName::unread()).empty()) ++number;
      }
    }
  }

  Vector<EncoderBlock<Scalar>> blocks;
  Vector<Placement> policies;  ///< can be set on a trained model

 private:
  /// Lets the policies at a place act, in their order, by act(number, context), on what `output` is so far. The first
  /// of them has the taps.
  template <class Act>
  void apply(Index block, merge::Site site, const Call& call, merge::StackBudget& rate,
             const nn::AttentionTaps<Scalar>* taps, Output& output, Act&& act) const;

  /// A block, and the policies that stand at it.
  template <class CachePointer, class Act>
  void run_block(Index b, const Call& call, merge::StackBudget& rate, CachePointer cache, Output& output,
                 Act&& act) const;

  /// Whether a policy behind the attention of a block asks it.
  bool reads_attention(Index block, merge::DeletionMode mode) const {
    return std::any_of(policies.begin(), policies.end(), [&](const Placement& placement) {
      return placement.block == block && placement.site == merge::Site::after_attention &&
             merge::acts(placement, mode) && placement.policy.traits().reads_attention;
    });
  }

  void begin(Cache& cache, const Call& call) const {
    cache.position_bias = call.position_bias;
    cache.states.clear();
    cache.acted.clear();
    cache.policies.resize(policies.size());
    cache.blocks.resize(blocks.size());
  }

  static bool has_gate(const Reports& reports) {
    return std::any_of(reports.begin(), reports.end(), [](const auto& report) { return report.is_gate; });
  }
};

namespace detail {

/// Behind a policy: `group` [T] and `alive` [T] of the tokens that entered the stack.
template <Real Scalar>
void follow(const merge::PolicyReport<Scalar>& report, const merge::TokenState<Scalar>& before, Vector<Index>& group,
            Vector<std::uint8_t>& alive) {
  Vector<Index> survivors;
  for (const Index row : report.kept) survivors.push_back(before.origin[row]);
  keep_only(survivors, alive);
  if (report.group.empty()) return;
  for (Index& row : group)
    if (row >= 0) row = report.group[row];
}

}  // namespace detail

template <Real Scalar>
template <class Act>
void BlockStack<Scalar>::apply(Index block, merge::Site site, const Call& call, merge::StackBudget& rate,
                               const nn::AttentionTaps<Scalar>* taps, Output& output, Act&& act) const {
  for (Index p = 0; p < policies.size(); ++p) {
    const Placement& placement = policies[p];
    if (placement.block != block || placement.site != site || !merge::acts(placement, call.options.mode)) continue;
    if (!call.options.gate_values.empty() && placement.policy.traits().is_gate && has_gate(output.reports)) continue;
    Vector<TokenId> ids;
    if (!call.ids.empty())
      for (const Index row : output.state.origin) ids.push_back(call.ids[static_cast<std::size_t>(row)]);
    Vector<Index> removals;
    if (placement.policy.traits().has_budget) removals = rate.next(output.state.offsets, output.state.gone());
    merge::Reduction<Scalar> reduced = act(p, merge::PolicyContext<Scalar>{output.state, call.options, ids, removals,
                                                                           placement.size_bias, call.rng, taps});
    reduced.report.block = block;
    reduced.report.site = site;
    detail::follow(reduced.report, output.state, output.group, output.alive);
    output.x = std::move(reduced.x);
    output.state = std::move(reduced.state);
    output.reports.push_back(std::move(reduced.report));
    taps = nullptr;  // they are of the tokens that were there before
  }
}

template <Real Scalar>
template <class CachePointer, class Act>
void BlockStack<Scalar>::run_block(Index b, const Call& call, merge::StackBudget& rate, CachePointer cache,
                                   Output& output, Act&& act) const {
  constexpr bool training = !std::same_as<CachePointer, std::nullptr_t>;
  apply(b, merge::Site::before_block, call, rate, nullptr, output, act);
  std::optional<double> excess_limit;
  if constexpr (training) excess_limit = cache->excess_limit;
  const auto context = self_attention_context(output.state, call.position_bias, excess_limit);
  typename nn::MultiHeadAttention<Scalar>::Cache record;
  const auto* attended = &record;
  const bool asked = reads_attention(b, call.options.mode);
  if constexpr (training) {
    output.x = blocks[b].attend(output.x, context, *call.rng, cache->blocks[b]);
    attended = &cache->blocks[b].attention;
  } else {
    output.x = asked ? blocks[b].attend(output.x, context, record) : blocks[b].attend(output.x, context);
  }
  const nn::RecordedAttention<Scalar> taps(blocks[b].attention, context, *attended);
  apply(b, merge::Site::after_attention, call, rate, asked ? &taps : nullptr, output, act);
  if constexpr (training)
    output.x = blocks[b].feed(output.x, *call.rng, cache->blocks[b]);
  else
    output.x = blocks[b].feed(std::move(output.x));
}

template <Real Scalar>
template <class CachePointer>
auto BlockStack<Scalar>::run(Matrix<Scalar> x, State start, const Call& call, CachePointer cache) const -> Output {
  constexpr bool training = !std::same_as<CachePointer, std::nullptr_t>;
  merge::check_placements("BlockStack", policies, blocks.size());
  merge::check_gate_values("BlockStack", call.options, policies, start.total());
  Output output(std::move(x), std::move(start));
  merge::StackBudget rate = merge::stack_budget(call.options, policies, output.state.offsets, output.state.forced);
  if constexpr (training) begin(*cache, call);
  const auto act = [&](Index p, const merge::PolicyContext<Scalar>& context) {
    if constexpr (training) {
      cache->acted.push_back(p);
      cache->states.push_back(context.state);
      return policies[p].policy.forward(std::move(output.x), context, *call.rng, cache->policies[p]);
    } else {
      return policies[p].policy.forward(std::move(output.x), context);
    }
  };
  for (Index b = 0; b < blocks.size(); ++b) run_block(b, call, rate, cache, output, act);
  apply(blocks.size(), merge::Site::before_block, call, rate, nullptr, output, act);
  if constexpr (training) cache->states.push_back(output.state);
  return output;
}

template <Real Scalar>
Matrix<Scalar> BlockStack<Scalar>::backward(Matrix<Scalar> grad_x, std::span<const Scalar> grad_bias,
                                            std::span<const merge::ReportGradient<Scalar>> reports,
                                            double excess_weight, const Cache& cache,
                                            nn::DistanceBias<Scalar>& grad_position_bias, BlockStack& gradients) const {
  check_equal("BlockStack::backward", "gradients.policies.size()", gradients.policies.size(), policies.size());
  if (!grad_bias.empty())
    check_equal("BlockStack::backward", "grad_bias.size()", std::ssize(grad_bias), cache.states.back().total());
  merge::TokenGradient<Scalar> grad{std::move(grad_x), Vector<Scalar>(grad_bias.begin(), grad_bias.end())};
  Index left = cache.acted.size();  // policies that are still to come, from behind
  const auto undo = [&](Index block, merge::Site site) {
    while (left > 0) {
      const Index p = cache.acted[left - 1];
      if (policies[p].block != block || policies[p].site != site) return;
      --left;
      merge::ReductionGradient<Scalar> behind{std::move(grad.x), std::move(grad.key_bias), {}};
      if (left < std::ssize(reports)) behind.report = reports[static_cast<std::size_t>(left)];
      grad = policies[p].policy.backward(std::move(behind), cache.policies[p], gradients.policies[p].policy);
    }
  };
  undo(blocks.size(), merge::Site::before_block);
  const Index first_gated = first_gated_block();
  for (Index b = blocks.size(); b-- > 0;) {
    const auto& attention = cache.blocks[b].attention;
    grad.x = blocks[b].feed_backward(grad.x, cache.blocks[b], gradients.blocks[b]);
    undo(b, merge::Site::after_attention);
    const bool penalised = b >= first_gated && attention.pairs > 0;
    auto inner = blocks[b].attend_backward(
        std::move(grad.x), self_attention_context(cache.states[left], cache.position_bias, cache.excess_limit),
        cache.blocks[b], gradients.blocks[b], grad_position_bias.values.size() > 0 ? &grad_position_bias : nullptr,
        penalised ? excess_weight / attention.pairs : 0.0);
    grad.x = std::move(inner.x);
    add_gradient<Scalar>(inner.key_bias, grad.key_bias);
    undo(b, merge::Site::before_block);
  }
  return std::move(grad.x);
}

}  // namespace merganser::models
