// What a policy that plans a single sequence is shown, and what is true of policies whatever they are given.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>

#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/merge_plan.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// What is true of a policy whatever it is given. A policy says it in a member `traits`, a constant or
/// a function; without one the defaults hold.
struct PolicyTraits {
  bool is_gate = false;            ///< soft deletion weakens keys; only hard deletion removes
  bool is_structural = false;      ///< acts in every deletion mode: the model does not work without it
  bool is_causal = false;          ///< no row hangs on a token behind its last member
  bool is_training_free = true;    ///< works in a model that was not trained with it
  bool needs_class_token = false;  ///< made for models whose first token stands for all
  bool has_budget = false;         ///< removes as many tokens as the call asks for, as far as it can
};

/// One sequence as a policy sees it. Pads are not among its tokens. What is empty is not known.
template <Real Scalar>
struct Tokens {
  MatrixRef<Scalar> x;                  ///< [n x D]
  std::span<const Position> positions;  ///< [n] in the sequence as it entered the model, rising
  std::span<const Scalar> sizes = {};   ///< [n] or empty (one each): tokens of the input that each stands for
  std::span<const TokenId> ids = {};    ///< [n] or empty
  std::optional<Index> removals = {};   ///< tokens that the call wants gone here; see Budget
  Rng* rng = nullptr;                   ///< of this sequence alone; null where the call has none

  Index count() const { return x.rows(); }
  Scalar size(Index token) const { return sizes.empty() ? Scalar{1} : sizes[static_cast<std::size_t>(token)]; }
};

/// Plans what becomes of one sequence: `MergePlan plan(const Tokens&) const`. It keeps a row wherever there is a token,
/// and its representatives rise. Batches, threads and gradients come from `PlanPolicy`.
template <class P, class Scalar>
concept Planner = std::copy_constructible<P> && requires(const P& planner, const Tokens<Scalar>& tokens) {
  { planner.plan(tokens) } -> std::same_as<MergePlan<Scalar>>;
};

/// The traits of a policy of any kind.
template <class P>
PolicyTraits traits_of(const P& policy) {
  if constexpr (requires { policy.traits(); })
    return policy.traits();
  else if constexpr (requires { policy.traits; })
    return policy.traits;
  else
    return {};
}

}  // namespace merganser::merge
