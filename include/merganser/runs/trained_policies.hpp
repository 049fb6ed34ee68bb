// The policies of merganser that a model is trained with, by name; gates and the first poolings have options of their
// own.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/merge/policies/byte_boundaries.hpp>
#include <merganser/merge/policies/channel_fold.hpp>
#include <merganser/merge/policies/dynamicvit.hpp>
#include <merganser/merge/policies/funnel_pooling.hpp>
#include <merganser/merge/policies/integrate_and_fire.hpp>
#include <merganser/merge/policies/latent_read.hpp>
#include <merganser/merge/policies/sampled_gate.hpp>
#include <merganser/merge/policies/segment_pooling.hpp>
#include <merganser/runs/named_policies.hpp>
#include <merganser/runs/option.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

inline Option group_setting(Index& rate) {
  return count_option("group", "tokens that become one row", policy_role, rate, 1, 1000);
}

/// A layer whose settings are its Config, for the width of the stack.
template <class Layer, class Bind>
NamedPolicy named_layer(std::string name, std::string description, Bind bind) {
  using Config = typename Layer::Config;
  return named_policy(std::move(name), std::move(description), Config{}, {}, bind,
                      [](Config config, const models::StackConfig& stack) {
                        config.width = stack.width;
                        return merge::Policy<float>(Layer(config));
                      });
}

inline NamedPolicy named_words() {
  using Words = merge::SegmentPooling<merge::WordStarts>;
  static const Choices<merge::SegmentPool> pools = {{"mean", merge::SegmentPool::mean},
                                                    {"largest", merge::SegmentPool::largest},
                                                    {"first", merge::SegmentPool::first_alone}};
  return named_policy(
      "words", "words become their means, largest numbers, or first bytes", Words{}, {}, [](Words& policy) {
        return OptionTable{choice_option("pool", "what a word becomes", policy_role, policy.pool, pools)};
      });
}

}  // namespace detail

/// All of them.
inline std::vector<NamedPolicy> trained_policies() {
  using merge::ChannelFold;
  using merge::DynamicViT;
  using merge::FunnelPooling;
  using merge::IntegrateAndFire;
  using merge::LatentRead;
  return {
      detail::named_layer<ChannelFold<float>>(
          "channel_fold", "neighbours side by side in channels (Token-Shuffle)",
          [](ChannelFold<float>::Config& config) { return OptionTable{detail::group_setting(config.rate)}; }),
      detail::named_layer<DynamicViT<float>>("dynamicvit", "a keep head with drawn decisions",
                                             [](DynamicViT<float>::Config& config) {
                                               return OptionTable{number_option("keep", "share that stays",
                                                                                detail::policy_role, config.keep_rate,
                                                                                0.01, 1)};
                                             }),
      named_policy("funnel", "means of groups of tokens (Funnel-Transformer)", FunnelPooling{}, {},
                   [](FunnelPooling& policy) { return OptionTable{detail::group_setting(policy.rate)}; }),
      detail::named_layer<IntegrateAndFire<float>>(
          "integrate_and_fire", "a row when weights add up to one (CIF)",
          [](IntegrateAndFire<float>::Config& config) {
            return OptionTable{number_option("share", "rows a token", detail::policy_role, config.share, 0.01, 0.99)};
          }),
      detail::named_layer<LatentRead<float>>("latent_read", "learned queries read groups of tokens (FIT)",
                                             [](LatentRead<float>::Config& config) {
                                               return OptionTable{
                                                   detail::group_setting(config.rate),
                                                   count_option("latents", "rows of a group", detail::policy_role,
                                                                config.latents, 1, 1000)};
                                             }),
      detail::named_layer<merge::SampledGate<float>>("sampled_gate", "decisions drawn and rewarded (TR-BERT, IA-RED2)",
                                                     [](auto&) { return OptionTable{}; }),
      detail::named_words()};
}

}  // namespace merganser::runs
