// Tiny models and batches for the tests of models and training.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/executor.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/gate_regulariser.hpp>
#include <merganser/merge/gated_deletion.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/models/encoder.hpp>
#include <merganser/models/stack_config.hpp>
#include <merganser/nn/cross_entropy.hpp>
#include <merganser/training/objective.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/random_values.hpp"

namespace merganser::testing {

/// Sets the number of threads for a test case. Gradient checks run a tiny model ten thousand times, for which one
/// thread is many times faster than two.
class Threads {
 public:
  explicit Threads(int count) : pool_(count), scope_(pool_) {}

 private:
  ThreadPool pool_;
  ExecutorScope scope_;
};

/// Extents that differ pairwise, with inner width H K unlike D, and bucketed distances that saturate.
inline models::StackConfig tiny_stack() {
  models::StackConfig stack;
  stack.width = 6;
  stack.heads = 2;
  stack.head_width = 4;
  stack.feed_forward_width = 5;
  stack.blocks = 2;
  stack.buckets = 6;
  stack.max_distance = 4;
  stack.max_positions = 7;
  stack.score_bound = nn::ScoreBound::none();  // a test that wants one says so
  return stack;
}

/// Large enough that products, norms and attention are cut into blocks.
inline models::StackConfig small_stack() {
  models::StackConfig stack;
  stack.width = 20;
  stack.heads = 3;
  stack.head_width = 8;
  stack.feed_forward_width = 37;
  stack.max_positions = 150;
  return stack;
}

inline io::GateConfig gate_at(Index block) {
  io::GateConfig gate;
  gate.block = block;
  return gate;
}

/// Settings of a model and of what its encoder shortens with.
template <class Model>
struct Design : Model::Config {
  using Placements = Vector<merge::Placement<typename Model::ScalarType>>;

  Vector<io::GateConfig> gates;
  std::optional<io::PoolingConfig> pooling;

  Placements policies() const { return io::placements_of<typename Model::ScalarType>({gates, pooling}, this->encoder); }

  Model make() const { return Model(*this, policies()); }
};

/// The learned gate that is policy number p of an encoder.
template <Real Scalar>
merge::DeleteGate<Scalar>& gate_in(models::Encoder<Scalar>& encoder, Index p = 0) {
  auto* gate = encoder.policies[p].policy.template target<merge::DeleteGate<Scalar>>();
  if (gate == nullptr) throw std::logic_error("no learned gate");
  return *gate;
}

/// Gives every learned gate of an encoder this regulariser.
template <Real Scalar>
void set_regulariser(models::Encoder<Scalar>& encoder, merge::GateRegulariser regulariser) {
  using Deletion = merge::GatedDeletion<Scalar, merge::DeleteGate<Scalar>>;
  for (merge::Placement<Scalar>& placement : encoder.policies)
    if (auto* deletion = placement.policy.template target<Deletion>())
      *deletion = Deletion(deletion->inner(), {deletion->settings().threshold, regulariser});
}

/// Random numbers for every parameter: norms around 1, gates that decide clearly and both ways.
template <class Model>
void fill_model(Model& model, std::uint64_t seed, double deviation = 0.5) {
  Rng rng(seed);
  model.visit(
      [&](const std::string& name, auto& tensor) {
        using Scalar = typename std::decay_t<decltype(tensor)>::Scalar;
        const bool of_gate = name.find("delete_gate.feed_forward") != std::string::npos;
        fill_random(tensor, rng, of_gate ? 2.0 : deviation);
        if (name.ends_with("layer_norm.weight")) tensor.array() += Scalar{1};
      },
      "");
}

/// One sequence a length, of ids in [2, vocabulary).
inline TokenBatch random_tokens(const Vector<Index>& lengths, Index vocabulary, std::uint64_t seed) {
  Rng rng(seed);
  TokenBatch batch;
  for (const Index length : lengths) {
    Vector<TokenId> sequence(length);
    for (TokenId& id : sequence) id = static_cast<TokenId>(2 + rng.below(static_cast<std::uint64_t>(vocabulary - 2)));
    batch.push_back(sequence);
  }
  return batch;
}

/// The same sequences with up to three pads in front, up to ten behind, and here and there none or both.
inline TokenBatch with_pads(const TokenBatch& batch, TokenId pad, std::uint64_t seed) {
  Rng rng(seed);
  TokenBatch result;
  for (Index i = 0; i < batch.count(); ++i) {
    Vector<TokenId> ids(static_cast<Index>(rng.below(4)), pad);
    ids.append(batch.sequence(i).begin(), batch.sequence(i).end());
    ids.resize(ids.size() + static_cast<Index>(rng.below(11)), pad);
    result.push_back(ids);
  }
  return result;
}

/// One sequence of a batch as a batch of its own.
inline TokenBatch alone(const TokenBatch& batch, Index sequence) {
  TokenBatch result;
  result.push_back(batch.sequence(sequence));
  return result;
}

template <class Matrix>
Matrix rows_of(const Matrix& matrix, const SequenceOffsets& offsets, Index sequence) {
  return matrix.middleRows(offsets.begin(sequence), offsets.length(sequence));
}

inline merge::DeletionOptions deletion(merge::DeletionMode mode, merge::SurvivorBias bias = merge::SurvivorBias::kept) {
  merge::DeletionOptions options = merge::DeletionOptions::with_mode(mode);
  options.survivor_bias = bias;
  return options;
}

/// All numbers of a model in the order of its visit.
template <class Model>
auto numbers_of(const Model& model) {
  Model copy = model;
  Vector<typename Model::ScalarType> numbers;
  for (const auto& view : parameter_views(copy)) numbers.insert(numbers.end(), view.data, view.data + view.size());
  return numbers;
}

/// The largest difference between the numbers of two models, relative to the largest of either, at least 1.
template <class Model>
double largest_difference(const Model& first, const Model& second) {
  const auto a = numbers_of(first), b = numbers_of(second);
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 1, difference = 0;
  for (Index i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return std::numeric_limits<double>::infinity();
    largest = std::max({largest, std::abs(static_cast<double>(a[i])), std::abs(static_cast<double>(b[i]))});
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return difference / largest;
}

/// How far the gate values of a pass lie from where another token would be kept or deleted. A gradient check moves
/// values by less than 0.02.
template <Real Scalar>
double plan_margin(const models::EncoderOutput<Scalar>& encoded, const merge::DeletionOptions& options) {
  double margin = std::numeric_limits<double>::infinity();
  if (options.mode != merge::DeletionMode::hard) return margin;
  for (const auto& report : encoded.reports) {
    if (!report.is_gate) continue;
    Vector<bool> kept(report.scores.size(), false);
    for (const Index row : report.kept) kept[row] = true;
    for (Index i = 0; i < report.offsets.count(); ++i) {
      double lowest_kept = std::numeric_limits<double>::infinity(), highest_deleted = -lowest_kept;
      for (Index t = report.offsets.begin(i); t < report.offsets.end(i); ++t) {
        const auto value = static_cast<double>(report.scores[t]);
        if (kept[t])
          lowest_kept = std::min(lowest_kept, value);
        else
          highest_deleted = std::max(highest_deleted, value);
        if (!options.target_rate) margin = std::min(margin, std::abs(value - report.threshold));
      }
      margin = std::min(margin, lowest_kept - highest_deleted);
    }
  }
  return margin;
}

/// A weight for every number that an encoder hands out; the objective is their weighted sum.
struct EncoderProbe {
  Matrix<double> hidden;
  Vector<double> key_bias;
  Vector<merge::ReportGradient<double>> reports;
  double excess = 0.3;

  explicit EncoderProbe(const models::EncoderOutput<double>& output) {
    Rng rng(5);
    hidden = random_matrix<double>(output.hidden.values.rows(), output.hidden.values.cols(), rng);
    key_bias = random_values<double>(output.key_bias.size(), rng);
    for (const auto& report : output.reports)
      reports.push_back(
          {random_values<double>(report.scores.size(), rng), random_values<double>(report.auxiliaries.size(), rng)});
  }

  double operator()(const models::EncoderOutput<double>& output, const Vector<double>& excess_means) const {
    const auto sum = [](const auto& a, const auto& b) {
      return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
    };
    double total = probe_sum(hidden, output.hidden.values) + sum(key_bias, output.key_bias);
    for (Index r = 0; r < reports.size(); ++r) {
      total += sum(reports[r].scores, output.reports[r].scores);
      for (Index a = 0; a < reports[r].auxiliaries.size(); ++a)
        total += reports[r].auxiliaries[a] * output.reports[r].auxiliaries[a].value;
    }
    return total + excess * std::accumulate(excess_means.begin(), excess_means.end(), 0.0);
  }
};

/// A model, a batch for it, and what to ask of them.
template <class M>
struct ModelSetup {
  using Model = M;
  Model model;
  TokenBatch source, target;
  merge::DeletionOptions deletion;
  training::ObjectiveConfig objective{0.4, 0.5};
  double alpha = 0.07;

  ModelSetup(const Design<Model>& design, TokenBatch inputs, TokenBatch labels, const merge::DeletionOptions& options,
             std::uint64_t seed)
      : model(design.make()), source(std::move(inputs)), target(std::move(labels)), deletion(options) {
    fill_model(model, seed);
  }

  typename Model::ForwardOptions options() const {
    typename Model::ForwardOptions result;
    result.deletion = deletion;
    if (objective.score_penalty != 0) result.excess_limit = objective.score_limit;
    return result;
  }

  typename Model::Output trained(typename Model::Cache& cache) const {
    Rng rng(9);
    return model.forward_targets(source, target, options(), rng, cache);
  }

  typename Model::Output inferred() const { return model.forward_targets(source, target, options()); }

  training::ObjectiveResult<Model> evaluate(typename Model::Cache& cache) const {
    return training::evaluate_objective<Model>(trained(cache), target.ids, objective, alpha);
  }

  /// Adds the gradients of the objective; returns its value.
  double backward(Model& gradients) const {
    typename Model::Cache cache;
    const auto result = evaluate(cache);
    model.backward(result.grad, cache, gradients);
    return result.total;
  }
};

/// The distance of the nearest ReLU of a stack to its kink; infinite for other activations.
template <class BlockCaches>
double kink_margin(const BlockCaches& blocks, nn::Activation activation) {
  double margin = std::numeric_limits<double>::infinity();
  if (activation != nn::Activation::relu) return margin;
  for (const auto& block : blocks)
    if (block.feed_forward.inner.size() > 0) margin = std::min(margin, block.feed_forward.inner.cwiseAbs().minCoeff());
  return margin;
}

/// A limit for scores with no score near it, where max(score - limit, 0) has its kink: as a function of the limit the
/// excess is a straight line between two scores. `excess_at(limit)` is the excess of one forward pass.
template <class Excess>
double limit_between_scores(Excess&& excess_at) {
  const double reach = 0.02;
  for (double limit = 0.25; limit < 5; limit += 0.05) {
    const double below = excess_at(limit - reach), at = excess_at(limit), above = excess_at(limit + reach);
    if (at > 0 && std::abs(below - 2 * at + above) < 1e-11 * below) return limit;
  }
  throw std::logic_error("no limit that is far from all scores");
}

}  // namespace merganser::testing
