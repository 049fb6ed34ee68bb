// Trains a delete gate in an encoder of your own by the library's recipe: an embedding, a gate, and the mean of what is
// left, weighed by the key bias. A sequence holds one of eight words three times among six ids of noise: which one?
#include <cstdio>

#include <merganser/merganser.hpp>

using namespace merganser;

constexpr Index features = 16, words = 8, noises = 12, length = 9;

data::Example draw_example(Rng& rng) {
  data::Example example{{}, {static_cast<TokenId>(rng.below(words))}};
  for (Index t = 0; t < length; ++t)
    example.source.push_back(t % 3 == 0 ? example.target[0] : static_cast<TokenId>(words + rng.below(noises)));
  return example;
}

/// The trainer asks a model for these types, visit, forward_targets and backward; the recipe for encoder.policies.
struct MyModel {
  using ScalarType = float;
  using Output = models::ModelOutput<float>;
  using OutputGradients = models::ModelOutputGradients<float>;
  struct ForwardOptions {
    merge::DeletionOptions deletion;
    std::optional<double> excess_limit;  // of attention scores: there are none
  };
  struct Cache {
    nn::Embedding<float>::Cache embedding;
    nn::Linear<float>::Cache head;
    models::PolicyStep<float> gate;
    merge::TokenState<float> left;  // what is known of the T' tokens that are left
    Matrix<float> values, pooled;   // [T' x D], [N x D]
    RowVector<float> weights;       // [T'] in the mean
  };

  nn::Embedding<float> embedding{{words + noises, features}};
  struct {
    Vector<merge::Placement<float>> policies = {merge::before_block(0, merge::DeleteGate<float>({.width = features}))};
  } encoder;
  nn::Linear<float> head{{features, words}};

  void visit(auto&& visitor, const ParameterName& prefix = "") {
    embedding.visit(visitor, prefix + "embedding.");
    encoder.policies[0].policy.visit(visitor, prefix + "encoder.");
    head.visit(visitor, prefix + "head.");
  }

  Output forward_targets(const TokenBatch& source, const TokenBatch&, const ForwardOptions& options, Rng& rng,
                         Cache& c) const {
    Output output;
    c.left = merge::TokenState<float>::start(source.offsets, counting_positions(source.offsets));
    c.values = c.gate.forward(encoder.policies[0].policy, embedding.forward(source.ids, c.embedding), source.ids,
                              options.deletion, rng, c.left, output.encoded);
    c.weights = RowVector<float>::Ones(c.left.total());
    for (Index t = 0; t < c.left.key_bias.size(); ++t) c.weights[t] = std::exp(c.left.key_bias[t]);
    c.pooled = Matrix<float>(source.count(), features);
    for (Index i = 0; i < source.count(); ++i) {
      const Index begin = c.left.offsets.begin(i), tokens = c.left.offsets.length(i);
      c.weights.segment(begin, tokens) /= c.weights.segment(begin, tokens).sum();
      c.pooled.row(i) = c.weights.segment(begin, tokens) * c.values.middleRows(begin, tokens);
    }
    output.logits = head.forward(c.pooled, c.head);
    return output;
  }

  void backward(const OutputGradients& grad, const Cache& c, MyModel& sum) const {
    const Matrix<float> grad_pooled = head.backward(grad.logits, c.head, sum.head);
    Matrix<float> grad_x(c.values.rows(), features);
    Vector<float> grad_b(c.left.key_bias.size(), 0.0F);
    for (Index i = 0; i < grad_pooled.rows(); ++i)
      for (Index t = c.left.offsets.begin(i); t < c.left.offsets.end(i); ++t) {
        grad_x.row(t) = c.weights[t] * grad_pooled.row(i);
        if (!grad_b.empty()) grad_b[t] = grad_x.row(t).dot(c.values.row(t) - c.pooled.row(i));
      }
    grad_x = c.gate.backward(encoder.policies[0].policy, grad_x, grad_b, grad.reports, sum.encoder.policies[0].policy);
    embedding.backward(grad_x, c.embedding, sum.embedding);
  }
};

int main() {
  MyModel model;
  Rng rng(1);
  model.embedding.initialize(0.3, rng);
  model.encoder.policies[0].policy.initialize(1.0, rng);
  model.head.initialize(0.25, rng);
  training::Recipe recipe;  // the measured one; Recipe::mrt5() is the paper's
  recipe.target = 0.6;
  training::Trainer<MyModel> trainer(model, training::trainer_config(recipe, model, 1500, 1));
  double rate = 0, right = 0, steps = 0;
  training::LoopCallbacks callbacks;
  callbacks.on_step = [&](const training::StepReport& report) {
    if (report.step < 1400 || report.gated_batches == 0) return;
    rate += report.deletion_rate, right += report.token_accuracy, steps += 1;  // every batch is new to the model
  };
  training::train_to(
      1500, trainer, [&] { return data::make_random_batch(draw_example, 32, rng); }, callbacks);
  std::printf("in the last steps %.1f %% deleted, %.1f %% right\n", 100 * rate / steps, 100 * right / steps);
  return std::abs(rate / steps - 0.6) < 0.05 && right > 0.97 * steps ? 0 : 1;
}
