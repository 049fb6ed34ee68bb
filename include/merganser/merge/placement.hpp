// Where policies stand in a stack of blocks.
#pragma once

#include <algorithm>
#include <concepts>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/delayed_removal.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/gated_deletion.hpp>
#include <merganser/merge/policy.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A policy that is not yet a policy for numbers of some type.
template <class P>
struct Placed {
  Index block = 0;
  Site site = Site::before_block;
  P policy;
  SizeBias size_bias = SizeBias::none;
};

/// A policy at its place. Several may stand at one: they act in their order.
template <Real Scalar>
struct Placement {
  Index block = 0;  ///< counted from 0; a stack's number of blocks: behind the last
  Site site = Site::before_block;
  Policy<Scalar> policy;
  SizeBias size_bias = SizeBias::none;
  std::string name = {};  ///< by which a saved model knows it, such as "local_merging:block=2"; empty: by its kind

  Placement() = default;
  Placement(Index at_block, Site at_site, Policy<Scalar> placed, SizeBias bias = SizeBias::none)
      : block(at_block), site(at_site), policy(std::move(placed)), size_bias(bias) {}
  template <class P>
  requires AnyPolicy<P, Scalar> Placement(Placed<P> placed)
      : Placement(placed.block, placed.site, std::move(placed.policy), placed.size_bias) {}
};

/// On entry to a block, counted from 0.
template <class P>
Placed<P> before_block(Index block, P policy, SizeBias size_bias = SizeBias::none) {
  return {block, Site::before_block, std::move(policy), size_bias};
}

/// Between the attention and the feed-forward layer of a block.
template <class P>
Placed<P> after_attention(Index block, P policy, SizeBias size_bias = SizeBias::none) {
  return {block, Site::after_attention, std::move(policy), size_bias};
}

/// A gate on entry to a block whose rows leave on entry to the block that is `delay` blocks behind, see
/// `RemoveDeleted`; with 0 the gate alone, which removes at once. Policies in between still see what goes.
/// @throws std::invalid_argument if the delay is below 0
template <Real Scalar, Gate<Scalar> G>
Vector<Placement<Scalar>> delayed(Index block, G gate, Index delay, GateSettings settings = {}) {
  check_argument(delay >= 0, "delayed", "delay", delay, "at least 0");
  settings.removal = delay > 0 ? Removal::delayed : Removal::now;
  Vector<Placement<Scalar>> placements = {before_block(block, GatedDeletion<Scalar, G>(std::move(gate), settings))};
  if (delay > 0) placements.emplace_back(before_block(block + delay, RemoveDeleted<Scalar>()));
  return placements;
}

/// Tokens to remove in each of so many blocks: `removals` on average, with an inflection of 1 rising from 0 on, with -1
/// falling to 0, and with 0 always the same. ToMe (Bolya et al. 2023, arXiv 2210.09461).
/// @throws std::invalid_argument if there is no block or the inflection is outside [-1, 1]
inline Vector<Index> linear_schedule(Index blocks, Index removals, double inflection = 0) {
  check_argument(blocks >= 1, "linear_schedule", "blocks", blocks, "at least 1");
  check_argument(inflection >= -1 && inflection <= 1, "linear_schedule", "inflection", inflection, "in [-1, 1]");
  const auto first = static_cast<Index>(static_cast<double>(removals) * (1 - inflection));
  const double step =
      blocks > 1 ? static_cast<double>(2 * removals - 2 * first) / static_cast<double>(blocks - 1) : 0.0;
  Vector<Index> schedule;
  for (Index block = 0; block < blocks; ++block)
    schedule.push_back(static_cast<Index>(static_cast<double>(first) + step * static_cast<double>(block)));
  return schedule;
}

/// A policy behind the attention of every block, made for the block's number of the schedule.
template <Real Scalar, class Make>
Vector<Placement<Scalar>> after_attention_of_each(const Vector<Index>& schedule, Make&& make,
                                                  SizeBias size_bias = SizeBias::none) {
  Vector<Placement<Scalar>> placements;
  for (Index block = 0; block < schedule.size(); ++block)
    placements.emplace_back(after_attention(block, make(schedule[block]), size_bias));
  return placements;
}

/// In modes without deletion only structural policies act.
template <Real Scalar>
bool acts(const Placement<Scalar>& placement, DeletionMode mode) {
  return mode == DeletionMode::soft || mode == DeletionMode::hard || placement.policy.traits().is_structural;
}

/// What the rate of a call, if it has one, is to the policies of a stack; `gone` marks pads.
/// @throws std::invalid_argument if a policy's own budget is out of range
template <Real Scalar>
StackBudget stack_budget(const DeletionOptions& options, const Vector<Placement<Scalar>>& placements,
                         const SequenceOffsets& offsets, Marks gone) {
  if (!options.target_rate) return {};
  Vector<Index> order;
  for (Index p = 0; p < placements.size(); ++p)
    if (acts(placements[p], options.mode) && placements[p].policy.traits().has_budget) order.push_back(p);
  const auto place = [&](Index p) { return std::tuple(placements[p].block, placements[p].site, p); };
  std::sort(order.begin(), order.end(), [&](Index a, Index b) { return place(a) < place(b); });
  Vector<std::optional<Budget>> own;
  bool given = false;  // gate values of the call are the first gate's, and later ones say nothing
  for (const Index p : order) {
    const bool is_gate = !options.gate_values.empty() && placements[p].policy.traits().is_gate;
    if (!(is_gate && given)) own.push_back(placements[p].policy.own_budget());
    given = given || is_gate;
  }
  return {*options.target_rate, own, offsets, gone};
}

/// @throws std::invalid_argument if a policy stands at a block that does not exist, or a placement is empty
template <Real Scalar>
void check_placements(const char* where, const Vector<Placement<Scalar>>& placements, Index blocks) {
  for (const Placement<Scalar>& placement : placements) {
    const Index most = placement.site == Site::before_block ? blocks : blocks - 1;
    if (placement.block < 0 || placement.block > most)  // a text that is put together takes memory: only for an error
      throw_invalid_argument(where, "policies: block", placement.block,
                             "a block number from 0 to " + std::to_string(most));
    placement.policy.traits();
  }
}

/// Gate values of a call are one for each of the T tokens, and some gate takes them.
/// @throws std::invalid_argument if not
template <Real Scalar>
void check_gate_values(const char* where, const DeletionOptions& options, const Vector<Placement<Scalar>>& placements,
                       Index tokens) {
  if (options.gate_values.empty()) return;
  check_equal(where, "gate_values.size()", std::ssize(options.gate_values), tokens);
  const bool taken = std::any_of(placements.begin(), placements.end(),
                                 [](const auto& placement) { return placement.policy.traits().is_gate; });
  check_argument(taken, where, "gate_values", "values and no gate",
                 "a gate that takes them, such as before_block(2, GivenGate{})");
}

}  // namespace merganser::merge
