// Laws that every policy keeps, to be called from its own test with a way to make it for numbers of any type.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <deque>
#include <type_traits>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/merge/policy.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/planner_gradients.hpp"
#include "support/policy_batch.hpp"
#include "support/random_values.hpp"

namespace merganser::testing {

/// What the sizes of rows are.
enum class RowSizes {
  of_members,  ///< theirs, added up
  shared,      ///< tokens share themselves out among rows: only the sizes of all rows are those of all tokens in one
  own,         ///< a plan's own
};

/// What a policy is like, and the call that it is tried in.
struct PolicyLaws {
  Index width = 6;
  merge::DeletionOptions options = {};  ///< rows must move: no soft deletion by a gate
  merge::SizeBias size_bias = merge::SizeBias::none;
  bool quiet_training = true;  ///< training has no noise of its own
  bool draws = false;          ///< inference reads numbers from the generator, one a token
  bool copies = false;         ///< every row is one token
  bool at_most_half = false;   ///< of the tokens go: what is asked beyond is for others
  bool may_take_more = false;  ///< than it is asked for, even where that is nothing: the budget is the least that goes
  bool shared_tokens = false;  ///< tokens are in several rows: a row may be the first of none
  RowSizes sizes = RowSizes::of_members;
  bool keeps_equal = true;  ///< a row of equal tokens is that token; not so: sums, folded channels, learned maps
  double equal_within = 0;  ///< beyond rounding: of means whose weights are published as 1 / (count + 1e-9)
};

namespace detail {

template <Real Scalar>
void require_same(const merge::Reduction<Scalar>& a, const merge::Reduction<Scalar>& b) {
  REQUIRE(identical(a.x, b.x));
  REQUIRE(a.state.offsets == b.state.offsets);
  REQUIRE(a.state.positions == b.state.positions);
  REQUIRE(a.state.origin == b.state.origin);
  REQUIRE(a.state.key_bias == b.state.key_bias);
  REQUIRE(a.state.sizes == b.state.sizes);
  REQUIRE(a.state.deleted == b.state.deleted);
  REQUIRE(a.report.kept == b.report.kept);
  REQUIRE(a.report.group == b.report.group);
  REQUIRE(a.report.scores == b.report.scores);
  REQUIRE(a.report.logits == b.report.logits);
}

/// State and report say the same of what came in.

// In policy_laws.cpp, compiled once for all policies.
void require_laws(const merge::Policy<float>& policy, const PolicyLaws& laws);
void require_laws(const merge::Policy<double>& policy, const PolicyLaws& laws);
void require_float_policy_follows_double(const merge::Policy<float>& single, const merge::Policy<double>& twice,
                                         const PolicyLaws& laws);
void require_first_alone(const merge::Policy<double>& policy, Index count, const PolicyLaws& laws);

/// A policy holds what it was made of, a copy its own.
template <Real Scalar, class P>
merge::Policy<Scalar> require_target(P made) {
  if constexpr (std::same_as<P, merge::Policy<Scalar>>) {
    return made;
  } else {
    merge::Policy<Scalar> policy(std::move(made));
    const merge::Policy<Scalar> copy = policy;
    REQUIRE((policy.template target<P>() != nullptr && copy.template target<P>() != nullptr));
    REQUIRE(policy.template target<P>() != copy.template target<P>());
    REQUIRE(copy.template target<PolicyLaws>() == nullptr);
    return policy;
  }
}

}  // namespace detail

/// The first tokens of every sequence are rows by themselves, whatever else goes: of the policies that make(rows)
/// makes, which protect as many.
template <class Make>
void require_protected_rows(Make&& make, const PolicyLaws& laws = {}) {
  for (const Index rows : {1, 4, 40}) detail::require_first_alone(make(rows), rows, laws);
}

/// Shape and bits of what `make.operator()<Scalar>()` does, a policy of the same parameters in float and in double.
template <class Make>
void require_policy_laws(Make&& make, const PolicyLaws& laws = {}) {
  detail::require_laws(detail::require_target<float>(make.template operator()<float>()), laws);
  detail::require_laws(detail::require_target<double>(make.template operator()<double>()), laws);
  detail::require_float_policy_follows_double(make.template operator()<float>(), make.template operator()<double>(),
                                              laws);
}

}  // namespace merganser::testing
