// The policies that a config.json has words for, as plain settings, and the placements that they are.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/boundary_pooling.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>
#include <merganser/models/stack_config.hpp>

namespace merganser::inline MERGANSER_ISA::io {

enum class GateKind {
  learned,  ///< merge::DeleteGate
  random,   ///< merge::RandomGate
  fixed,    ///< merge::FixedRuleGate
};

/// Where a gate stands and what it is.
struct GateConfig {
  Index block = 0;  ///< it acts on the input of this block, counted from 0
  GateKind kind = GateKind::learned;
  merge::GateActivation activation = merge::GateActivation::scaled_sigmoid;
  double scale = -30.0;                            ///< the value of a deleted token
  std::optional<double> threshold = std::nullopt;  ///< tokens above it are kept; halfway unless given
  merge::GateNorm norm = merge::GateNorm::rms;
  merge::GateNoise noise = merge::GateNoise::none;
  double initial_bias = 3.0;
  double rate = 0.5;                ///< of the random and fixed kinds: share to delete, in [0, 1]
  Vector<TokenId> separators = {};  ///< of the fixed kind: ids that begin a segment

  bool operator==(const GateConfig&) const = default;
};

enum class PoolingKind {
  boundaries,  ///< merge::BoundaryPooling
  strided,     ///< merge::StridedPooling
};

/// Where a pooling stands and what it is.
struct PoolingConfig {
  Index block = 0;  ///< it acts on the input of this block, counted from 0
  PoolingKind kind = PoolingKind::boundaries;
  double prior = 0.2;        ///< of boundaries: share of tokens that are expected to end a segment, in (0, 1)
  double temperature = 0.5;  ///< of boundaries
  Index rate = 4;            ///< of the strided kind: tokens that become one

  bool operator==(const PoolingConfig&) const = default;
};

/// Gates, or a pooling, or neither, and in front of them policies by name.
struct EncoderPolicies {
  Vector<GateConfig> gates = {};  ///< rising by block
  std::optional<PoolingConfig> pooling = std::nullopt;
  std::vector<std::string> named = {};  ///< where they stand at the same place as a gate or pooling they act first
};

/// Makes the placements of a name that a config.json has: of "local_merging:block=2", say. A program that knows
/// policies by name gives it (`runs::named_policies`), so that others need not compile them all.
/// @throws std::invalid_argument if there is no such policy
using NamedPolicies =
    std::function<Vector<merge::Placement<float>>(const std::string& name, const models::StackConfig& stack)>;

namespace detail {

/// With absent weights it will only run.
template <Real Scalar, nn::Weights weights, class P>
merge::Policy<Scalar> policy_of(P policy) {
  if constexpr (weights == nn::Weights::absent)
    return merge::Policy<Scalar>::for_inference(std::move(policy));
  else
    return merge::Policy<Scalar>(std::move(policy));
}

template <Real Scalar, nn::Weights weights>
merge::Policy<Scalar> make_gate(const GateConfig& gate, Index width) {
  const merge::GateSettings settings{.threshold = gate.threshold};
  const auto lift = [&](auto inner) {
    return policy_of<Scalar, weights>(merge::GatedDeletion<Scalar, decltype(inner)>(std::move(inner), settings));
  };
  check_argument(std::isfinite(gate.scale), "GateConfig", "scale", gate.scale, "a finite number");
  check_argument(gate.rate >= 0 && gate.rate <= 1, "GateConfig", "rate", gate.rate, "in [0, 1]");
  if (gate.kind == GateKind::random) return lift(merge::RandomGate{gate.rate, gate.scale});
  if (gate.kind == GateKind::fixed) return lift(merge::FixedRuleGate{gate.rate, gate.scale, gate.separators});
  return lift(
      merge::DeleteGate<Scalar>({width, gate.activation, gate.scale, gate.norm, gate.noise, gate.initial_bias}));
}

/// The settings of a gate, if the policy is one that a config.json has words for.
template <Real Scalar>
std::optional<GateConfig> gate_config(const merge::Policy<Scalar>& policy) {
  GateConfig gate;
  const auto is = [&]<class G>(const G*) {
    const auto* lifted = policy.template target<merge::GatedDeletion<Scalar, G>>();
    if (lifted != nullptr) gate.threshold = lifted->settings().threshold;
    const bool is_delayed = lifted != nullptr && lifted->settings().removal == merge::Removal::delayed;
    return is_delayed ? nullptr : policy.template target<G>();
  };
  if (const auto* learned = is(static_cast<const merge::DeleteGate<Scalar>*>(nullptr))) {
    const auto& config = learned->config();
    gate.activation = config.activation;
    gate.scale = config.scale;
    gate.norm = config.norm;
    gate.noise = config.noise;
    gate.initial_bias = config.initial_bias;
  } else if (const auto* random = is(static_cast<const merge::RandomGate*>(nullptr))) {
    gate.kind = GateKind::random;
    gate.rate = random->probability;
    gate.scale = random->scale;
  } else if (const auto* fixed = is(static_cast<const merge::FixedRuleGate*>(nullptr))) {
    gate.kind = GateKind::fixed;
    gate.rate = fixed->amount;
    gate.scale = fixed->scale;
    gate.separators = fixed->separators;
  } else {
    return std::nullopt;
  }
  return gate;
}

/// The same of a pooling.
template <Real Scalar>
std::optional<PoolingConfig> pooling_config(const merge::Policy<Scalar>& policy) {
  PoolingConfig pooling;
  if (const auto* boundaries = policy.template target<merge::BoundaryPooling<Scalar>>()) {
    const auto& config = boundaries->config();
    if (config.last_token != merge::LastToken::ends || config.open_group != merge::OpenGroup::kept ||
        config.null_group || !config.intervals.empty())
      return std::nullopt;
    pooling.prior = config.prior;
    pooling.temperature = config.temperature;
    return pooling;
  }
  if (const auto* strided = policy.template target<merge::StridedPooling<Scalar>>()) {
    if (strided->config().kernel != 0) return std::nullopt;
    pooling.kind = PoolingKind::strided;
    pooling.rate = strided->config().rate;
    return pooling;
  }
  return std::nullopt;
}

}  // namespace detail

namespace detail {

template <Real Scalar>
Vector<merge::Placement<Scalar>> placements_by_name(const std::vector<std::string>& names,
                                                    const models::StackConfig& stack, const NamedPolicies& make) {
  Vector<merge::Placement<Scalar>> placements;
  for (const std::string& name : names) {
    check_argument(make && std::same_as<Scalar, float>, "placements_of", "policies", name,
                   "a model in float, and LoadModelOptions::named_policies to make it");
    if constexpr (std::same_as<Scalar, float>)
      for (merge::Placement<Scalar>& made : make(name, stack)) {
        made.name = name;
        placements.push_back(std::move(made));
      }
  }
  merge::check_placements("placements_of", placements, stack.blocks);
  return placements;
}

}  // namespace detail

/// The policies themselves, for an encoder of these sizes. Those of a model with absent weights only run.
/// @throws std::invalid_argument if a setting is out of range, gates do not rise by block, there are gates and a
/// pooling, or a policy has a name that nobody knows
template <Real Scalar, nn::Weights weights = nn::Weights::zeros>
Vector<merge::Placement<Scalar>> placements_of(const EncoderPolicies& policies, const models::StackConfig& stack,
                                               const NamedPolicies& named = {}) {
  Vector<merge::Placement<Scalar>> placements = detail::placements_by_name<Scalar>(policies.named, stack, named);
  Index last = -1;
  for (const GateConfig& gate : policies.gates) {
    check_argument(gate.block > last && gate.block < stack.blocks, "placements_of", "gates: block", gate.block,
                   "rising block numbers below " + std::to_string(stack.blocks));
    last = gate.block;
    placements.emplace_back(gate.block, merge::Site::before_block,
                            detail::make_gate<Scalar, weights>(gate, stack.width));
  }
  if (!policies.pooling) return placements;
  const PoolingConfig& pooling = *policies.pooling;
  check_argument(policies.gates.empty(), "placements_of", "pooling", "gates and a pooling", "one of them");
  check_argument(pooling.block >= 0 && pooling.block < stack.blocks, "placements_of", "pooling: block", pooling.block,
                 "a block number below " + std::to_string(stack.blocks));
  const auto make = [&] {
    if (pooling.kind == PoolingKind::strided)
      return detail::policy_of<Scalar, weights>(merge::StridedPooling<Scalar>({stack.width, pooling.rate}));
    return detail::policy_of<Scalar, weights>(
        merge::BoundaryPooling<Scalar>({stack.width, stack.feed_forward_width, pooling.prior, pooling.temperature}));
  };
  placements.emplace_back(pooling.block, merge::Site::before_block, make());
  return placements;
}

/// What a config.json can say of placements.
/// @throws std::invalid_argument if it has no words for one of them, or for all of them together
template <Real Scalar>
EncoderPolicies describe_policies(const Vector<merge::Placement<Scalar>>& placements) {
  EncoderPolicies policies;
  for (const merge::Placement<Scalar>& placement : placements) {
    if (!placement.name.empty()) {
      const bool behind = (policies.pooling && policies.pooling->block == placement.block) ||
                          std::any_of(policies.gates.begin(), policies.gates.end(),
                                      [&](const GateConfig& gate) { return gate.block == placement.block; });
      check_argument(!behind, "hf_config", "policies", placement.name + " behind a gate or a pooling of its block",
                     "policies by name in front of those");
      // One name may stand for several placements.
      if (policies.named.empty() || policies.named.back() != placement.name) policies.named.push_back(placement.name);
      continue;
    }
    std::optional<GateConfig> gate = detail::gate_config(placement.policy);
    std::optional<PoolingConfig> pooling = detail::pooling_config(placement.policy);
    check_argument((gate || pooling) && placement.site == merge::Site::before_block &&
                       placement.size_bias == merge::SizeBias::none,
                   "hf_config", "policies", "one that config.json has no words for",
                   "delete gates or a pooling on entry to blocks, or a Placement::name");
    if (gate) {
      gate->block = placement.block;
      const bool rises = policies.gates.empty() || policies.gates.back().block < gate->block;
      check_argument(rises, "hf_config", "policies", "gates that do not rise by block",
                     "one at a block, in their order");
      policies.gates.push_back(*std::move(gate));
    } else {
      check_argument(!policies.pooling, "hf_config", "policies", "two poolings", "one");
      policies.pooling = pooling;
      policies.pooling->block = placement.block;
    }
  }
  check_argument(!policies.pooling || policies.gates.empty(), "hf_config", "policies", "gates and a pooling",
                 "one of them");
  return policies;
}

}  // namespace merganser::io
