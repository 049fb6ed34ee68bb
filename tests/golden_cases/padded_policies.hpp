// How the published implementation shortens a padded batch, as policies: pads count as tokens, rows of shorter
// sequences are filled up, and a few more of its habits, none of which the library has.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include <merganser/kernels/attention.hpp>
#include <merganser/merge/gate_regulariser.hpp>
#include <merganser/merge/gated_deletion.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/boundary_pooling.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::testing {

/// What the reference does to a batch of this form.
struct PaddedForm {
  std::optional<TokenId> pad = 0;  ///< none in a ragged batch
  bool fills_up = true;            ///< sequences to the longest of them
};

inline Vector<std::uint8_t> pads_among(std::span<const TokenId> ids, const PaddedForm& form) {
  return form.pad ? models::mark_ids(ids, *form.pad) : Vector<std::uint8_t>{};
}

/// The fixed rule as the reference has it: words are counted over all sequences together, and one mask serves all.
template <Real Scalar>
Vector<Scalar> batch_rule(const merge::FixedRuleGate& rule, std::span<const TokenId> ids,
                          const SequenceOffsets& offsets) {
  Vector<Index> lengths;  // tokens in the s-th word of any sequence
  for (const RowRange& range : offsets.ranges()) {
    Index word = 0;
    for (const TokenId id : range.of(ids)) {
      if (rule.separates(id)) ++word;
      if (lengths.size() <= word) lengths.resize(word + 1, 0);
      ++lengths[word];
    }
  }
  Vector<Scalar> values(offsets.total(), static_cast<Scalar>(rule.scale));
  for (const RowRange& range : offsets.ranges()) {
    Index begin = 0;
    for (const Index length : lengths) {
      for (Index t = begin; t < std::min(begin + rule.kept_of(length), range.length); ++t) values[range.begin + t] = 0;
      begin += length;
    }
  }
  return values;
}

/// Deletion by a gate. A row without a token above the threshold keeps position 0; survivors lose their gate value, and
/// count from 0 behind a gate at block 0; fillers are weightless copies of the first token.
template <Real Scalar, merge::Gate<Scalar> G>
class PaddedDeletion {
 public:
  using ScalarType = Scalar;
  using Gradients = PaddedDeletion;

  static constexpr merge::PolicyTraits traits{.is_gate = true, .is_training_free = false};

  struct Cache {
    Matrix<Scalar> entered;  ///< [T x D]
    typename merge::detail::GateCache<G>::Type gate;
    merge::Compaction<Scalar> compaction;
    Vector<Index> fillers;  ///< of the T' rows
    merge::RegulariserResult<Scalar> regulariser;
    bool hard = false;
  };

  PaddedDeletion() = default;
  PaddedDeletion(G inner, double threshold, const PaddedForm& form, bool renumbers,
                 merge::GateRegulariser regulariser = merge::GateRegulariser::mean_gate)
      : gate(std::move(inner)), threshold_(threshold), form_(form), renumbers_(renumbers), regulariser_(regulariser) {}

  merge::Reduction<Scalar> forward(Matrix<Scalar> x, const merge::PolicyContext<Scalar>& context) const {
    Cache cache;
    merge::GateValues<Scalar> said = gate_values(x, context, nullptr, cache);
    return carry_out(std::move(x), context, std::move(said), cache);
  }

  merge::Reduction<Scalar> forward(Matrix<Scalar> x, const merge::PolicyContext<Scalar>& context, Rng& rng,
                                   Cache& cache) const {
    merge::GateValues<Scalar> said = gate_values(x, context, &rng, cache);
    return carry_out(std::move(x), context, std::move(said), cache);
  }

  merge::TokenGradient<Scalar> backward(merge::ReductionGradient<Scalar> grad, const Cache& cache,
                                        Gradients& gradients) const {
    const auto weight = static_cast<Scalar>(grad.report.auxiliaries.empty() ? 0.0 : grad.report.auxiliaries[0]);
    Vector<Scalar> grad_values = merge::scaled(cache.regulariser.grad_values, weight);
    const Vector<Scalar> grad_logits = merge::scaled(cache.regulariser.grad_logits, weight);
    merge::TokenGradient<Scalar> result;
    if (cache.hard) {
      result.x = cache.compaction.compact_backward(grad.x);
      const Vector<Index> places = cache.compaction.representatives();
      for (const Index row : cache.fillers) result.x.row(places[row]) += grad.x.row(row);
    } else {
      result.x = std::move(grad.x);
      grad_values.resize(result.x.rows(), Scalar{0});
      for (Index t = 0; t < grad.key_bias.size(); ++t) grad_values[t] += grad.key_bias[t];
    }
    if constexpr (merge::LearnedGate<G, Scalar>)
      result.x += gate.backward(grad_values, grad_logits, cache.gate, gradients.gate);
    return result;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if constexpr (merge::LearnedGate<G, Scalar>) gate.visit(visitor, prefix + "delete_gate.");
  }

  G gate;

 private:
  merge::GateValues<Scalar> gate_values(const Matrix<Scalar>& x, const merge::PolicyContext<Scalar>& context,
                                        [[maybe_unused]] Rng* rng, Cache& cache) const {
    cache.entered = x;
    const Vector<std::uint8_t> pads = pads_among(context.ids, form_);
    const merge::GateInput<Scalar> input{x, pads, context.ids, context.state.offsets, context.rng};
    if constexpr (std::same_as<G, merge::FixedRuleGate>) {
      const Vector<Scalar> values = batch_rule<Scalar>(gate, context.ids, context.state.offsets);
      return {values, values};
    } else if constexpr (merge::LearnedGate<G, Scalar>) {
      return rng != nullptr ? gate.forward(input, *rng, cache.gate) : gate.forward(input);
    } else {
      return gate.forward(input);
    }
  }

  merge::Reduction<Scalar> carry_out(Matrix<Scalar> x, const merge::PolicyContext<Scalar>& context,
                                     merge::GateValues<Scalar> said, Cache& cache) const {
    const merge::TokenState<Scalar>& before = context.state;
    merge::PolicyReport<Scalar> report;
    report.is_gate = true;
    report.offsets = before.offsets;
    report.forced = pads_among(context.ids, form_);
    report.threshold = context.options.threshold.value_or(threshold_);
    report.scores = std::move(said.values);
    report.logits = said.logits.empty() ? report.scores : std::move(said.logits);
    cache.regulariser =
        merge::regularise<Scalar>(regulariser_, report.scores, report.logits, report.forced, report.threshold);
    report.auxiliaries.push_back({"gate", cache.regulariser.value, true, merge::MeanOver::tokens});
    Vector<merge::MergePlan<Scalar>> plans = survivors(report);
    cache.hard = context.options.mode == merge::DeletionMode::hard;
    if (!cache.hard) {
      merge::TokenState<Scalar> after = before;
      after.key_bias.resize(before.total(), Scalar{0});
      for (Index t = 0; t < before.total(); ++t) after.key_bias[t] += report.scores[t];
      return {std::move(x), std::move(after), std::move(report)};
    }
    fill_up(plans);
    cache.compaction = merge::Compaction<Scalar>(std::move(plans), before.offsets);
    report.group = cache.compaction.groups();
    merge::Reduction<Scalar> result{cache.compaction.compact(x), before.merged(cache.compaction), std::move(report)};
    cache.fillers.clear();
    cache.compaction.for_each_row([&](Index, Index out, std::span<const merge::Member<Scalar>> members) {
      if (members.empty()) cache.fillers.push_back(out);
    });
    const Vector<Index> places = cache.compaction.representatives();
    for (const Index row : cache.fillers) result.x.row(row) = x.row(places[row]);
    if (form_.fills_up) {
      result.state.key_bias.resize(result.state.total(), Scalar{0});
      for (const Index row : cache.fillers) result.state.key_bias[row] = static_cast<Scalar>(kernels::hidden_score);
    }
    if (renumbers_) result.state.positions = counting_positions(result.state.offsets);
    return result;
  }

  /// Keeps what is above the threshold, pads among them, or position 0; and says so in the report.
  Vector<merge::MergePlan<Scalar>> survivors(merge::PolicyReport<Scalar>& report) const {
    Vector<merge::MergePlan<Scalar>> plans;
    for (const RowRange& range : report.offsets.ranges()) {
      merge::MergePlan<Scalar>& plan = plans.emplace_back(range.length);
      for (Index t = 0; t < range.length; ++t)
        if (report.scores[range.begin + t] > static_cast<Scalar>(report.threshold)) plan.keep(t);
      if (plan.output_count() == 0 && range.length > 0) plan.keep(0);
      for (const Index t : plan.representatives()) report.kept.push_back(range.begin + t);
    }
    return plans;
  }

  void fill_up(Vector<merge::MergePlan<Scalar>>& plans) const {
    Index longest = 0;
    for (const merge::MergePlan<Scalar>& plan : plans) longest = std::max(longest, plan.output_count());
    for (merge::MergePlan<Scalar>& plan : plans)
      while (form_.fills_up && plan.input_count() > 0 && plan.output_count() < longest) plan.open(0);
  }

  double threshold_ = 0;
  PaddedForm form_;
  bool renumbers_ = false;
  merge::GateRegulariser regulariser_ = merge::GateRegulariser::mean_gate;
};

/// Behind the last block: what `forced` marks is hidden from the readers of the encoder, which its blocks have seen.
template <Real Scalar>
struct HideForced {
  static constexpr merge::PolicyTraits traits{.is_structural = true};
  struct Cache {};

  merge::Reduction<Scalar> forward(Matrix<Scalar> x, const merge::PolicyContext<Scalar>& context) const {
    merge::Reduction<Scalar> result{std::move(x), context.state, {}};
    result.report.offsets = context.state.offsets;
    for (Index t = 0; t < context.state.total(); ++t) result.report.kept.push_back(t);
    result.state.hidden = std::move(result.state.forced);
    result.state.forced.clear();
    return result;
  }
  merge::Reduction<Scalar> forward(Matrix<Scalar> x, const merge::PolicyContext<Scalar>& context, Rng&, Cache&) const {
    return forward(std::move(x), context);
  }
  merge::TokenGradient<Scalar> backward(merge::ReductionGradient<Scalar> grad, const Cache&, HideForced&) const {
    return {std::move(grad.x), std::move(grad.key_bias)};
  }
};

/// Pooling of both kinds with pads among the tokens. The cases have no gradients of it.
template <Real Scalar, class Pooling>
class PaddedPooling {
 public:
  using ScalarType = Scalar;
  using Gradients = PaddedPooling;

  static constexpr merge::PolicyTraits traits = Pooling::traits;
  static constexpr bool finds_boundaries = std::same_as<Pooling, merge::BoundaryPooling<Scalar>>;

  struct Cache {
    Matrix<Scalar> entered;  ///< [T x D]
  };

  PaddedPooling() = default;

  /// `noise` [T]: draws of the boundary predictor, or none.
  PaddedPooling(Pooling inner, const PaddedForm& form, std::vector<double> noise)
      : pooling(std::move(inner)), form_(form), noise_(std::move(noise)) {}

  merge::Reduction<Scalar> forward(Matrix<Scalar> x, const merge::PolicyContext<Scalar>& context) const {
    const merge::TokenState<Scalar>& before = context.state;
    Vector<std::uint8_t> pads = before.pads();
    add_marks(pads_among(context.ids, form_), pads);
    merge::Reduction<Scalar> result;
    result.report.offsets = before.offsets;
    const Matrix<Scalar> normed = pooling.norm.forward(x);
    if constexpr (finds_boundaries) {
      const auto boundaries = pooling.predictor.forward(normed, before.offsets, pads, noise_);
      result.report.scores.assign(boundaries.hard.begin(), boundaries.hard.end());
      result.report.logits = boundaries.logits;
      auto plans = merge::segment_plans<Scalar>(boundaries.hard, before.offsets, pads);
      note_kept(plans, result.report);
      const Vector<std::uint8_t> fillers = fill_up(plans, before.offsets, pads);
      const merge::Compaction<Scalar> groups(std::move(plans), before.offsets);
      result.state = before.merged(groups).without_pads();
      result.state.forced = fillers;
      result.x = groups.compact(x);
      Vector<Index> trials;
      for (const RowRange& range : before.offsets.ranges())
        trials.push_back(range.length - (form_.fills_up || pads.empty() ? 0 : Marks(pads).of(range).count()));
      const auto prior =
          merge::boundary_prior_loss<Scalar>(boundaries.hard, before.offsets, trials, pooling.config().prior);
      result.report.auxiliaries.push_back({"boundary_prior", prior.value, false, merge::MeanOver::sequences});
    } else {
      Vector<merge::MergePlan<Scalar>> plans;  // the last rows, fewer than a group, are gone
      for (const RowRange& range : before.offsets.ranges()) {
        merge::MergePlan<Scalar>& plan = plans.emplace_back(range.length);
        const Index rate = pooling.config().rate;
        for (Index row = 0; row < range.length / rate * rate; ++row) {
          if (row % rate == 0) plan.open(row);
          plan.add(row);
        }
      }
      note_kept(plans, result.report);
      const merge::Compaction<Scalar> groups(std::move(plans), before.offsets);
      result.state = before.merged(groups).without_pads();
      result.x = pooling.convolution.forward(normed, groups);
      if (!pads.empty()) {  // blocks look at the first row of a group, readers at all of them
        result.state.hidden = groups.pick(std::span<const std::uint8_t>(pads));
        result.state.forced.assign(result.state.total(), 1);
        groups.for_each_row([&](Index first, Index out, std::span<const merge::Member<Scalar>> members) {
          for (const auto& member : members)
            if (pads[first + member.token] == 0) result.state.forced[out] = 0;
        });
      }
    }
    return result;
  }

  merge::Reduction<Scalar> forward(Matrix<Scalar> x, const merge::PolicyContext<Scalar>& context, Rng&,
                                   Cache& cache) const {
    cache.entered = x;
    return forward(std::move(x), context);
  }

  merge::TokenGradient<Scalar> backward(merge::ReductionGradient<Scalar>, const Cache&, Gradients&) const {
    throw std::logic_error("the golden cases have no gradients of poolings");
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    pooling.visit(visitor, prefix);
  }

  Pooling pooling;

 private:
  static void note_kept(const Vector<merge::MergePlan<Scalar>>& plans, merge::PolicyReport<Scalar>& report) {
    for (Index i = 0; i < plans.size(); ++i)
      for (const Index t : plans[i].representatives()) report.kept.push_back(report.offsets.begin(i) + t);
  }

  /// To the longest plan: the first filler is the mean of the sequence's pads, the others are 0. Marks fillers.
  Vector<std::uint8_t> fill_up(Vector<merge::MergePlan<Scalar>>& plans, const SequenceOffsets& offsets,
                               const Vector<std::uint8_t>& pads) const {
    if (!form_.fills_up) return {};
    Index longest = 0;
    for (const merge::MergePlan<Scalar>& plan : plans) longest = std::max(longest, plan.output_count());
    Vector<std::uint8_t> fillers;
    for (Index i = 0; i < offsets.count(); ++i) {
      merge::MergePlan<Scalar>& plan = plans[i];
      const Index segments = plan.output_count();
      fillers.resize(fillers.size() + segments, 0);
      if (plan.input_count() == 0) continue;
      const Marks marks = Marks(pads).of(offsets.range(i));
      for (Index filler = segments; filler < longest; ++filler) {
        plan.open(0);
        for (Index row = 0; filler == segments && row < plan.input_count(); ++row)
          if (marks[row]) plan.add(row, merge::segment_weight<Scalar>(marks.count()));
        fillers.push_back(1);
      }
    }
    return fillers;
  }

  PaddedForm form_;
  std::vector<double> noise_;
};

/// The same model as the reference runs it: its encoder does not know which ids are pads, its policies do.
/// @param noise of a boundary predictor, or none
template <Real Scalar>
models::EncoderDecoder<Scalar> as_reference(models::EncoderDecoder<Scalar> model, const PaddedForm& form,
                                            const std::vector<double>& noise = {},
                                            merge::GateRegulariser regulariser = merge::GateRegulariser::mean_gate) {
  auto config = model.config();
  config.pad = models::no_pad;
  Vector<merge::Placement<Scalar>> placements;
  for (const merge::Placement<Scalar>& placement : model.encoder.policies) {
    const merge::Policy<Scalar>& policy = placement.policy;
    const auto lift = [&]<class G>(const G* gate) {
      if (gate == nullptr) return;
      const auto* gated = policy.template target<merge::GatedDeletion<Scalar, G>>();
      placements.emplace_back(merge::before_block(
          placement.block,
          PaddedDeletion<Scalar, G>(*gate, gated->threshold(), form, placement.block == 0, regulariser)));
    };
    const auto pool = [&]<class Pooling>(const Pooling* pooling) {
      if (pooling == nullptr) return;
      placements.emplace_back(
          merge::before_block(placement.block, PaddedPooling<Scalar, Pooling>(*pooling, form, noise)));
      placements.emplace_back(merge::before_block(config.encoder.blocks, HideForced<Scalar>{}));
    };
    lift(policy.template target<merge::DeleteGate<Scalar>>());
    lift(policy.template target<merge::FixedRuleGate>());
    pool(policy.template target<merge::BoundaryPooling<Scalar>>());
    pool(policy.template target<merge::StridedPooling<Scalar>>());
  }
  models::EncoderDecoder<Scalar> reference(config, std::move(placements));
  copy_parameters(model, reference);
  return reference;
}

}  // namespace merganser::testing
