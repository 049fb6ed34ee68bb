// The policies that a curve compares, by name.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/runs/option.hpp>
#include <merganser/runs/run_options.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// The name of the twin that deletes nothing, whose target is 0.
inline constexpr const char* ungated = "ungated";

/// The name of the control that is trained without its source, whose target is 1.
inline constexpr const char* all_deleted = "all_deleted";

/// One way of choosing what goes. Another one joins by an entry in `policies`.
struct Policy {
  std::string name;
  std::string description;
  /// The rate that it aims at for a target in (0, 1); nothing where it comes nowhere near.
  std::optional<double> (*aim)(double target);
  /// Puts it into a model.
  void (*design)(ModelOptions& model, double target);
};

namespace detail {

inline std::optional<double> any_rate(double target) { return target; }

template <GateChoice choice>
void design_gate(ModelOptions& model, double) {
  model.gate = choice;
}

/// Tokens that become one, at least 2: the rate is 1 - 1 / stride.
inline Index stride_for(double target) { return std::max<Index>(2, static_cast<Index>(std::lround(1 / (1 - target)))); }

/// Rates between those of whole strides are given up where they are more than a tenth away.
inline std::optional<double> strided_rate(double target) {
  constexpr double furthest = 0.1;
  const double rate = 1 - 1 / static_cast<double>(stride_for(target));
  return std::abs(rate - target) <= furthest ? std::optional(rate) : std::nullopt;
}

inline void design_boundaries(ModelOptions& model, double target) {
  model.pooling.emplace();
  model.pooling->kind = io::PoolingKind::boundaries;
  model.pooling->prior = 1 - target;
}

inline void design_strides(ModelOptions& model, double target) {
  model.pooling.emplace();
  model.pooling->kind = io::PoolingKind::strided;
  model.pooling->rate = stride_for(target);
}

}  // namespace detail

inline const std::vector<Policy>& policies() {
  static const std::vector<Policy> all = {
      {"learned", "a delete gate, steered to the target", detail::any_rate, detail::design_gate<GateChoice::learned>},
      {"random", "deletes at random", detail::any_rate, detail::design_gate<GateChoice::random>},
      {"fixed", "keeps the beginnings of words", detail::any_rate, detail::design_gate<GateChoice::fixed>},
      {"boundary", "means of segments that a boundary predictor finds (BPT5)", detail::any_rate,
       detail::design_boundaries},
      {"strided", "a convolution over groups of the same size (CANINE)", detail::strided_rate, detail::design_strides}};
  return all;
}

inline std::vector<std::string> policy_names() {
  std::vector<std::string> names;
  for (const Policy& policy : policies()) names.push_back(policy.name);
  return names;
}

/// Null unless there is one.
inline const Policy* find_policy(std::string_view name) {
  const auto place =
      std::find_if(policies().begin(), policies().end(), [name](const Policy& policy) { return policy.name == name; });
  return place == policies().end() ? nullptr : &*place;
}

/// Whether it is the twin or the control, between which policies are compared and which have a target of their own.
inline bool is_bound(std::string_view name) { return name == ungated || name == all_deleted; }

/// What the name of a policy of a curve stands for: "learned", which is trained; "tome:block=1", which needs no
/// training and is put into the twin; "learned+tome:block=1", where the second is in the model that the first is
/// trained with; "ungated+tome:block=1", which is trained with the second alone.
struct CurvePolicy {
  const Policy* trained = nullptr;  ///< null: no gate or pooling of `policies`
  std::string named;                ///< empty: none
  bool is_of_twin = false;          ///< it is put into the trained twin

  explicit CurvePolicy(std::string_view name) {
    const std::size_t plus = name.find('+');
    const std::string_view front = name.substr(0, plus);
    trained = find_policy(front);
    is_of_twin = trained == nullptr && !is_bound(front);
    if (is_of_twin)
      named = name;
    else if (plus != std::string_view::npos)
      named = name.substr(plus + 1);
  }

  /// As `Policy::aim`; where there is none, the target itself.
  std::optional<double> aim(double target) const { return trained != nullptr ? trained->aim(target) : target; }
};

/// Puts a policy into a model to train, by name; twin and control have no gate, and what is put into the twin later
/// not either.
inline void design_policy(std::string_view name, ModelOptions& model, double target) {
  const CurvePolicy policy(name);
  if (policy.trained == nullptr)
    model.gate = GateChoice::none;
  else
    policy.trained->design(model, target);
  if (!policy.is_of_twin && !policy.named.empty()) model.policies = {policy.named};
}

/// Whether options of a role matter to a policy: those of gates do not where there are none, and how one is steered
/// not where none learns.
inline bool matters_to(std::string_view policy, OptionRole role) {
  if (role != OptionRole::gate && role != OptionRole::learned_gate) return true;
  ModelOptions model;
  design_policy(policy, model, 0.5);
  if (model.pooling || model.gate == GateChoice::none) return false;
  return role == OptionRole::gate || model.gate == GateChoice::learned;
}

}  // namespace merganser::runs
