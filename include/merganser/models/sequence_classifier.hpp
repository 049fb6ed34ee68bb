// A classifier of whole sequences: encoder with gates, readout, linear head.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/memory_reserve.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/softmax.hpp>
#include <merganser/models/encoder.hpp>
#include <merganser/models/model_output.hpp>
#include <merganser/nn/embedding.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// How the survivors of a sequence become one vector. Rows that are deleted softly are passed over as those that are
/// gone, and so are pads.
enum class Readout {
  mean,   ///< mean weighted by softmax(key bias)
  first,  ///< the first survivor
};

/// logits_i = head(pool(encoder(embed(ids_i)))). A sequence without survivors pools to 0. Pads as in EncoderDecoder.
template <Real Scalar>
class SequenceClassifier {
 public:
  using ScalarType = Scalar;
  using Gradients = SequenceClassifier;

  struct Config {
    Index vocabulary = 384;
    StackConfig encoder;
    Index classes = 2;
    Readout readout = Readout::mean;
    TokenId pad = 0;
  };

  struct Cache {
    typename nn::Embedding<Scalar>::Cache ids;
    Vector<std::uint8_t> forced;
    typename Encoder<Scalar>::Cache encoder;
    EncoderOutput<Scalar> encoded;
    Vector<Scalar> weights;  ///< [T'] weights of the readout
    Matrix<Scalar> pooled;   ///< [N x D]
  };

  using Output = ModelOutput<Scalar>;  ///< logits [N x C]
  using OutputGradients = ModelOutputGradients<Scalar>;

  struct ForwardOptions {
    merge::DeletionOptions deletion;
    std::optional<double> excess_limit;  ///< training: measure score_excess above this limit
    Rng* rng = nullptr;                  ///< inference: needed by random gates
  };

  SequenceClassifier() = default;

  explicit SequenceClassifier(const Config& config, Vector<merge::Placement<Scalar>> policies = {})
      : embedding({config.vocabulary, config.encoder.width}),
        encoder(config.encoder, std::move(policies)),
        head({config.encoder.width, config.classes}),
        config_(config) {}

  /// As EncoderDecoder::initialize.
  void initialize(Rng& rng, double factor = 1.0, double embedding_deviation = 0.3) {
    embedding.initialize(factor * embedding_deviation, rng);
    encoder.initialize(factor, rng);
    head.initialize(factor / std::sqrt(static_cast<double>(config_.encoder.width)), rng);
  }

  /// As EncoderDecoder::prepare_for_inference.
  void prepare_for_inference(kernels::Precision precision = kernels::Precision::full) {
    encoder.prepare_for_inference(precision);
    head.prepare_for_inference(precision);
    MemoryReserve::clear();
  }

  /// The same for every model that trains: `target` holds one class number a sequence.
  Output forward_targets(const TokenBatch& ids, const TokenBatch&, const ForwardOptions& options, Rng& rng,
                         Cache& cache) const {
    return forward(ids, options, rng, cache);
  }
  Output forward_targets(const TokenBatch& ids, const TokenBatch&, const ForwardOptions& options) const {
    return forward(ids, options);
  }

  /// ids of N sequences to logits [N x C].
  Output forward(const TokenBatch& ids, const ForwardOptions& options = {}) const {
    const Vector<std::uint8_t> forced = mark_ids(ids.ids, config_.pad);
    Output output;
    output.encoded = encoder.forward({{embedding.forward(ids.ids), ids.offsets}, ids.ids, {}, forced, options.rng},
                                     options.deletion);
    Vector<Scalar> weights;
    output.logits = head.forward(pool(output.encoded, weights));
    return output;
  }

  Output forward(const TokenBatch& ids, const ForwardOptions& options, Rng& rng, Cache& cache) const {
    cache.forced = mark_ids(ids.ids, config_.pad);
    cache.encoder.excess_limit = options.excess_limit;
    cache.encoded =
        encoder.forward({{embedding.forward(ids.ids, cache.ids), ids.offsets}, ids.ids, {}, cache.forced, &rng},
                        options.deletion, rng, cache.encoder);
    cache.pooled = pool(cache.encoded, cache.weights);
    Output output;
    output.logits = head.forward(cache.pooled);
    output.encoded = cache.encoded;
    if (options.excess_limit) {
      const Vector<double> means = encoder.excess_means(cache.encoder);
      if (!means.empty())
        output.score_excess = std::accumulate(means.begin(), means.end(), 0.0) / static_cast<double>(means.size());
    }
    return output;
  }

  /// Adds the parameter gradients of a loss to `gradients`.
  void backward(const OutputGradients& grad, const Cache& cache, Gradients& gradients) const {
    const Matrix<Scalar> grad_pooled = head.backward(grad.logits, cache.pooled, gradients.head);
    const RaggedBatch<Scalar>& hidden = cache.encoded.hidden;
    const double layers = static_cast<double>(encoder.excess_means(cache.encoder).size());
    const double excess_weight = grad.score_excess == 0 || layers == 0 ? 0.0 : grad.score_excess / layers;
    if (hidden.total() == 0 && excess_weight == 0 && grad.reports.empty()) return;
    // When everything was deleted nobody read the encoder, but it may be penalised all the same.
    const Index rows = cache.encoder.states.back().total();
    Matrix<Scalar> grad_hidden = Matrix<Scalar>::Zero(rows, hidden.values.cols());
    Vector<Scalar> grad_bias(cache.encoded.key_bias.size(), Scalar{0});
    for (Index i = 0; i < hidden.count(); ++i) {
      for (Index t = hidden.offsets.begin(i); t < hidden.offsets.end(i); ++t) {
        grad_hidden.row(t) = cache.weights[t] * grad_pooled.row(i);
        if (config_.readout == Readout::mean && !grad_bias.empty())  // weights = softmax(key bias)
          grad_bias[t] =
              cache.weights[t] * kernels::dot_difference(hidden.values.cols(), grad_pooled.row(i).data(),
                                                         hidden.values.row(t).data(), cache.pooled.row(i).data());
      }
    }
    const Matrix<Scalar> grad_embedded =
        encoder.backward(grad_hidden, grad_bias, grad.reports, excess_weight, cache.encoder, gradients.encoder);
    embedding.backward(grad_embedded, cache.ids, gradients.embedding);
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    embedding.visit(visitor, prefix + "shared.");
    encoder.visit(visitor, prefix + "encoder.");
    head.visit(visitor, prefix + "classification_head.");
  }

  const Config& config() const { return config_; }

  nn::Embedding<Scalar> embedding;
  Encoder<Scalar> encoder;
  nn::Linear<Scalar> head;

 private:
  /// One row a sequence; `weights` [T'] receives the weight of every row, 0 where it is passed over.
  Matrix<Scalar> pool(const EncoderOutput<Scalar>& encoded, Vector<Scalar>& weights) const {
    const RaggedBatch<Scalar>& hidden = encoded.hidden;
    Matrix<Scalar> pooled = Matrix<Scalar>::Zero(hidden.count(), config_.encoder.width);
    weights.assign(hidden.total(), Scalar{0});
    for (Index i = 0; i < hidden.count(); ++i) {
      Vector<Index> rows = survivors(encoded, hidden.offsets.range(i));
      if (rows.empty()) continue;
      if (config_.readout == Readout::first) rows.resize(1);
      Vector<Scalar> row_weights(rows.size(), Scalar{0});
      if (!encoded.key_bias.empty())
        for (Index r = 0; r < rows.size(); ++r) row_weights[r] = encoded.key_bias[rows[r]];
      kernels::softmax_row(rows.size(), row_weights.data(), kernels::SoftmaxKind::softmax);
      for (Index r = 0; r < rows.size(); ++r) {
        weights[rows[r]] = row_weights[r];
        kernels::add_scaled(pooled.cols(), row_weights[r], hidden.values.row(rows[r]).data(), pooled.row(i).data());
      }
    }
    return pooled;
  }

  /// The rows of a sequence that are neither deleted nor hidden.
  static Vector<Index> survivors(const EncoderOutput<Scalar>& encoded, const RowRange& range) {
    const Marks deleted = encoded.deleted, hidden = encoded.hidden_keys;
    Vector<Index> rows;
    for (Index row = range.begin; row < range.begin + range.length; ++row)
      if (!deleted[row] && !hidden[row]) rows.push_back(row);
    return rows;
  }

  Config config_;
};

#if MERGANSER_COMPILED
extern template class SequenceClassifier<float>;
#endif

}  // namespace merganser::models
