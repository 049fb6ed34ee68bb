// The policies of merganser by name. It compiles them all: one unit of a program includes it.
#pragma once

#include <algorithm>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/merge/policies/adaptive_sampling.hpp>
#include <merganser/merge/policies/attention_top_k.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/density_peaks.hpp>
#include <merganser/merge/policies/diffrate.hpp>
#include <merganser/merge/policies/drop_rules.hpp>
#include <merganser/merge/policies/local_merging.hpp>
#include <merganser/merge/policies/ltp.hpp>
#include <merganser/merge/policies/mctf.hpp>
#include <merganser/merge/policies/pitome.hpp>
#include <merganser/merge/policies/tofu.hpp>
#include <merganser/merge/policies/tome.hpp>
#include <merganser/merge/policies/ward_pooling.hpp>
#include <merganser/merge/policies/zero_tprune.hpp>
#include <merganser/runs/named_policies.hpp>
#include <merganser/runs/option.hpp>
#include <merganser/runs/trained_policies.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

inline Option rate_setting(merge::Budget& budget) {
  return number_option("rate", "share of the tokens that go, where the call names none", policy_role, budget.rate, 0,
                       1);
}

inline OptionTable budget_settings(merge::Budget& budget) {
  constexpr Index most = 1000000;
  return {rate_setting(budget),
          count_option("tokens", "so many of every sequence, in place of a rate", policy_role, budget.tokens, 0, most)};
}

inline PolicyPlace behind_attention(merge::SizeBias size_bias = merge::SizeBias::none) {
  return {.site = merge::Site::after_attention, .size_bias = size_bias};
}

/// A planner with a budget, whose other settings `bind` adds.
template <class P, class Bind>
NamedPolicy budgeted(std::string name, std::string description, P usual, const PolicyPlace& place, Bind bind) {
  NamedPolicy entry = named_policy(std::move(name), std::move(description), std::move(usual), place, [bind](P& policy) {
    OptionTable table = budget_settings(policy.budget);
    bind(policy, table);
    return table;
  });
  entry.amounts = {"rate", "tokens"};
  return entry;
}

template <class P>
NamedPolicy budgeted(std::string name, std::string description, P usual, const PolicyPlace& place) {
  return budgeted(std::move(name), std::move(description), std::move(usual), place, [](P&, OptionTable&) {});
}

inline Option share_setting(std::string name, std::string help, double& share) {
  return number_option(std::move(name), std::move(help), policy_role, share, 0, 1);
}

inline NamedPolicy named_local_merging() {
  NamedPolicy entry =
      budgeted("local_merging", "alike neighbours become one; order is kept", merge::LocalMerging{}, {},
               [](merge::LocalMerging& policy, OptionTable& table) {
                 table.push_back(number_option("least", "cosine from which neighbours merge, in place of a rate",
                                               policy_role, policy.least, -1, 1));
                 table.push_back(count_option("reach", "tokens in front of a token that it may join", policy_role,
                                              policy.reach, 1, 1000));
               });
  entry.amounts.emplace_back("least");
  return entry;
}

inline NamedPolicy named_pitome() {
  return budgeted(
      "pitome", "PiToMe: tokens that are like many join each other; half at most", merge::PiToMe{},
      behind_attention(merge::SizeBias::log_size), [](merge::PiToMe& policy, OptionTable& table) {
        table.push_back(number_option("margin", "cosines above it are alike", policy_role, policy.margin, -1, 0.999));
      });
}

inline NamedPolicy named_attention_top_k() {
  using Score = merge::AttentionTopK::Score;
  using Rest = merge::AttentionTopK::Rest;
  static const Choices<Score> scores = {{"received", Score::received},
                                        {"received_from_others", Score::received_from_others},
                                        {"class_token", Score::class_token}};
  static const Choices<Rest> rests = {{"dropped", Rest::dropped}, {"fused", Rest::fused_mean}};
  return budgeted(
      "attention_top_k", "EViT, PoWER-BERT, Length-Adaptive: tokens that attention looks at stay",
      merge::AttentionTopK{}, behind_attention(), [](merge::AttentionTopK& policy, OptionTable& table) {
        table.push_back(choice_option("score", "whose attention counts", policy_role, policy.score, scores));
        table.push_back(choice_option("rest", "what becomes of the others", policy_role, policy.rest, rests));
      });
}

inline NamedPolicy named_density_peaks() {
  using Rest = merge::DensityPeaks::Rest;
  static const Choices<Rest> rests = {{"dropped", Rest::dropped}, {"joined", Rest::joined}};
  return budgeted(
      "density_peaks", "the selection of the Hourglass Tokenizer: tokens amid many alike ones stay",
      merge::DensityPeaks{}, {}, [](merge::DensityPeaks& policy, OptionTable& table) {
        table.push_back(choice_option("rest", "what becomes of the others", policy_role, policy.rest, rests));
        table.push_back(count_option("k", "neighbours that make a density", policy_role, policy.k, 1, 1000));
      });
}

inline NamedPolicy named_tofu() {
  using Fusion = merge::ToFu::Fusion;
  static const Choices<Fusion> fusions = {
      {"scaled_mean", Fusion::scaled_mean}, {"mean", Fusion::mean}, {"pruned", Fusion::pruned}};
  return budgeted(
      "tofu", "ToFu: as tome, to means that keep their length", merge::ToFu{},
      behind_attention(merge::SizeBias::log_size), [](merge::ToFu& policy, OptionTable& table) {
        table.push_back(choice_option("fusion", "what a pair becomes", policy_role, policy.fusion, fusions));
      });
}

inline NamedPolicy named_ward_pooling() {
  using Clusters = merge::WardPooling::Clusters;
  static const Choices<Clusters> clusters = {{"any", Clusters::any}, {"neighbours", Clusters::neighbours}};
  return budgeted("ward_pooling", "Ward clusters become their means", merge::WardPooling{.budget = {}}, {},
                  [](merge::WardPooling& policy, OptionTable& table) {
                    table.push_back(choice_option("clusters", "of any tokens or of neighbours", policy_role,
                                                  policy.clusters, clusters));
                  });
}

inline NamedPolicy named_attention_threshold() {
  using Kind = merge::AttentionThreshold::Kind;
  static const Choices<Kind> kinds = {{"relative", Kind::relative}, {"absolute", Kind::absolute}};
  return named_policy(
      "attention_threshold", "LTP's fixed threshold: tokens that attention looks at enough stay",
      merge::AttentionThreshold{}, behind_attention(), [](merge::AttentionThreshold& policy) {
        return OptionTable{
            share_setting("threshold", "of attention, or of the largest", policy.threshold),
            choice_option("kind", "relative to the largest or absolute", policy_role, policy.kind, kinds)};
      });
}

inline NamedPolicy named_random_deletion() {
  return named_policy("random_deletion", "tokens go at random", merge::RandomGate{}, {}, [](merge::RandomGate& gate) {
    return OptionTable{share_setting("rate", "share of the tokens that go", gate.probability)};
  });
}

inline NamedPolicy named_fixed_deletion() {
  return named_policy("fixed_deletion", "the beginnings of words stay",
                      merge::FixedRuleGate{0.5, -30.0, data::ByteTokenizer::separator_ids()}, {},
                      [](merge::FixedRuleGate& gate) {
                        return OptionTable{share_setting("rate", "share of each word that goes", gate.amount)};
                      });
}

/// Two kinds of removal share the budget.
inline std::vector<NamedPolicy> named_pruning_and_merging() {
  return {budgeted("diffrate", "DiffRate: tokens that attention passes over go, or join alike ones", merge::DiffRate{},
                   behind_attention(merge::SizeBias::log_size),
                   [](merge::DiffRate& policy, OptionTable& table) {
                     table.push_back(share_setting("pruned_share", "of those that go: dropped, the others merge",
                                                   policy.pruned_share));
                   }),
          budgeted("zero_tprune", "Zero-TPrune: page rank over attention, then likeness", merge::ZeroTPrune{},
                   behind_attention(), [](merge::ZeroTPrune& policy, OptionTable& table) {
                     table.push_back(share_setting("alike_share", "of those that go: for likeness, others by rank",
                                                   policy.alike_share));
                   })};
}

}  // namespace detail

/// All of them, by name.
inline const std::vector<NamedPolicy>& policy_catalogue() {
  static const std::vector<NamedPolicy> all = [] {
    using enum merge::SizeBias;
    std::vector<NamedPolicy> list = {
        detail::budgeted("adaptive_sampling", "ATS: tokens sampled by attention, more go where few hold it",
                         merge::AdaptiveSampling{}, detail::behind_attention()),
        detail::named_attention_threshold(),
        detail::named_attention_top_k(),
        detail::budgeted("cascade_top_k", "SpAtten: as attention_top_k, a share of what is left at each block",
                         merge::CascadeTopK{}, detail::behind_attention()),
        detail::named_density_peaks(),
        detail::named_fixed_deletion(),
        detail::named_local_merging(),
        detail::budgeted("mctf", "MCTF: as tome, by likeness, attention and size; half at most", merge::MCTF{},
                         detail::behind_attention(log_size)),
        detail::named_pitome(),
        detail::named_random_deletion(),
        detail::budgeted("tail_drop", "the text is cut off: a control", merge::TailDrop{}, {}),
        detail::named_tofu(),
        detail::budgeted("tome", "ToMe: tokens of even number join alike ones of odd number; half at most",
                         merge::ToMe{}, detail::behind_attention(log_size)),
        detail::budgeted("tome_random", "random tokens join alike ones", merge::ToMeRandom{},
                         detail::behind_attention(log_size)),
        detail::named_ward_pooling()};
    for (NamedPolicy& more : detail::named_pruning_and_merging()) list.push_back(std::move(more));
    for (NamedPolicy& more : trained_policies()) list.push_back(std::move(more));
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return list;
  }();
  return all;
}

/// As `io::LoadModelOptions::named_policies` takes it.
inline Vector<merge::Placement<float>> named_policies(const std::string& text, const models::StackConfig& stack) {
  return named_placements(text, stack, policy_catalogue());
}

/// Puts policies by name into a model, in place of its own; "own" stands for those.
/// @param on_warning is told of policies that mean nothing, because the model was not trained with them
/// @throws std::invalid_argument if a name is unknown or given twice, or an own policy that the model does not work
/// without is left out
template <class Model>
void put_policies(const std::vector<std::string>& names, Model& model,
                  const std::function<void(const std::string&)>& on_warning = {}) {
  Vector<merge::Placement<float>> placements;
  const Vector<merge::Placement<float>>& own = model.encoder.policies;
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (!seen.insert(name).second)
      throw std::invalid_argument("--policy: got " + name + " twice, expected each policy once");
    const auto more = name == "own" ? own : named_policies(name, model.encoder.config());
    placements.insert(placements.end(), more.begin(), more.end());
    if (name != "own" && on_warning && !more.front().policy.traits().is_training_free)
      on_warning("policy " + name +
                 " is one that a model is trained with, and this one was not: what it gives means nothing");
  }
  for (const merge::Placement<float>& placement : own)
    if (placement.policy.traits().is_structural && !seen.contains("own"))
      throw std::invalid_argument("--policy: the model does not work without its own; expected own among the names");
  model.encoder.policies = std::move(placements);
}

/// A line a policy, with its settings.
inline std::string catalogue_text() {
  std::string text;
  for (const NamedPolicy& policy : policy_catalogue()) {
    std::vector<std::string> keys;
    for (const Option& option : policy.settings()) keys.push_back(option.name);
    text += "  " + policy.name + ": " + policy.description + " (" + joined(keys, ", ") + ")\n";
  }
  return text;
}

}  // namespace merganser::runs
