// The policies that are compared, by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <options.hpp>

namespace compression_curve {

/// The name of the twin that deletes nothing, whose target is 0.
inline constexpr const char* ungated = "ungated";

/// The name of the control that is trained without its source, whose target is 1.
inline constexpr const char* all_deleted = "all_deleted";

/// One way of choosing what goes. Another one joins by an entry in policies.cpp.
struct Policy {
  std::string name;
  std::string description;
  /// The rate that it aims at for a target in (0, 1); nothing where it comes nowhere near.
  std::optional<double> (*aim)(double target);
  /// Puts it into a model.
  void (*design)(byte_demo::ModelOptions& model, double target);
};

const std::vector<Policy>& policies();

/// "learned,random,..."
std::string policy_names();

/// Null unless there is one.
const Policy* find_policy(std::string_view name);

/// Whether it is the twin or the control, between which policies are compared and which have a target of their own.
inline bool is_bound(std::string_view name) { return name == ungated || name == all_deleted; }

/// Puts a policy into a model, by name; twin and control have no gate.
void design(std::string_view name, byte_demo::ModelOptions& model, double target);

}  // namespace compression_curve
