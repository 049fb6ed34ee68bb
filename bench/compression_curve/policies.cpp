// The policies that are compared.
#include "policies.hpp"

#include <algorithm>
#include <cmath>

namespace compression_curve {

namespace {

using byte_demo::Index;
using byte_demo::ModelOptions;
namespace merge = merganser::merge;

std::optional<double> any(double target) { return target; }

template <byte_demo::GateChoice choice>
void gate(ModelOptions& model, double) {
  model.gate = choice;
}

/// Tokens that become one, at least 2: the rate is 1 - 1 / stride.
Index stride_for(double target) { return std::max<Index>(2, static_cast<Index>(std::lround(1 / (1 - target)))); }

/// Rates between those of whole strides are given up where they are more than a tenth away.
std::optional<double> strided_rate(double target) {
  constexpr double furthest = 0.1;
  const double rate = 1 - 1 / static_cast<double>(stride_for(target));
  return std::abs(rate - target) <= furthest ? std::optional(rate) : std::nullopt;
}

void boundary_pooling(ModelOptions& model, double target) {
  model.pooling.emplace();
  model.pooling->kind = merge::PoolingKind::boundaries;
  model.pooling->prior = 1 - target;
}

void strided_pooling(ModelOptions& model, double target) {
  model.pooling.emplace();
  model.pooling->kind = merge::PoolingKind::strided;
  model.pooling->rate = stride_for(target);
}

}  // namespace

const std::vector<Policy>& policies() {
  static const std::vector<Policy> all = {
      {"learned", "a delete gate, steered to the target", any, gate<byte_demo::GateChoice::learned>},
      {"random", "deletes at random", any, gate<byte_demo::GateChoice::random>},
      {"fixed", "keeps the beginnings of words", any, gate<byte_demo::GateChoice::fixed>},
      {"boundary", "means of segments that a boundary predictor finds (BPT5)", any, boundary_pooling},
      {"strided", "a convolution over groups of the same size (CANINE)", strided_rate, strided_pooling}};
  return all;
}

std::string policy_names() {
  std::string names;
  for (const Policy& policy : policies()) names += (names.empty() ? "" : ",") + policy.name;
  return names;
}

const Policy* find_policy(std::string_view name) {
  const auto place =
      std::find_if(policies().begin(), policies().end(), [name](const Policy& policy) { return policy.name == name; });
  return place == policies().end() ? nullptr : &*place;
}

void design(std::string_view name, ModelOptions& model, double target) {
  if (is_bound(name))
    model.gate = byte_demo::GateChoice::none;
  else
    find_policy(name)->design(model, target);
}

}  // namespace compression_curve
