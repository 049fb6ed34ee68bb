// Trains a tiny encoder-decoder to delete a wanted share of its tokens. The task: the source is nine ids of which every
// third is noise, the target is the source without the noise. The controller steers the weight alpha of the gate
// regulariser until the measured deletion rate is the wanted one; the loss decides which tokens go.
//
// Prints step, loss, deletion rate and alpha while training; then, for unseen examples under hard deletion, the
// deletion rate against the target, the share of deleted tokens that are noise, and the share of ids that come out
// right.
#include <cmath>
#include <cstdio>

#include <merganser/merganser.hpp>

namespace {

using namespace merganser;
using Model = models::EncoderDecoder<float>;

constexpr double target_rate = 1.0 / 3;
constexpr TokenId end = 1, first_word = 2, words = 10, first_noise = 12, noises = 4;

bool is_noise(TokenId id) { return id >= first_noise; }

data::Example draw_example(Rng& rng) {
  data::Example example;
  for (int t = 0; t < 9; ++t) {
    const bool noise = t % 3 == 2;
    const TokenId id = noise ? first_noise + static_cast<TokenId>(rng.below(noises))
                             : first_word + static_cast<TokenId>(rng.below(words));
    example.source.push_back(id);
    if (!noise) example.target.push_back(id);
  }
  example.target.push_back(end);
  return example;
}

}  // namespace

int main() {
  Model::Config config;
  config.vocabulary = first_noise + noises;
  config.encoder.width = 32;
  config.encoder.heads = 2;
  config.encoder.feed_forward_width = 64;
  // In front of block 0: behind a block what a token says may have moved to its neighbour.
  Model model(config, {merge::before_block(0, merge::DeleteGate<float>({.width = config.encoder.width}))});
  Rng rng(1);
  model.initialize(rng);

  constexpr Index steps = 1500;
  training::Recipe recipe;  // the measured one: scores are bounded, the gate comes in when the model copies, ...
  recipe.target = target_rate;
  training::Trainer<Model> trainer(model, training::trainer_config(recipe, model, steps, 1));

  training::LoopCallbacks callbacks;
  callbacks.on_step = [](const training::StepReport& report) {
    if (report.step % 150 == 149)
      std::printf("step %4d   loss %6.3f   deleted %5.1f %%   alpha %7.4f\n", static_cast<int>(report.step) + 1,
                  report.parts[0].value, 100 * report.deletion_rate, report.alpha);
  };
  training::train_to(
      steps, trainer, [&] { return data::make_random_batch(draw_example, 16, rng); }, callbacks);

  const data::Batch unseen = data::make_random_batch(draw_example, 200, rng);
  const Model::Output output = model.forward_targets(unseen.source, unseen.target, {});  // hard deletion
  const double rate = output.encoded.deletion.deletion_rate();
  double noise_kept = 0, right = 0;
  for (const Index row : output.encoded.origin) noise_kept += is_noise(unseen.source.ids[row]);
  for (Index t = 0; t < output.logits.rows(); ++t) {
    Index best = 0;
    output.logits.row(t).maxCoeff(&best);
    right += best == unseen.target.ids[t];
  }
  const double deleted = rate * 1800, noise_deleted = 600 - noise_kept;
  const double accuracy = right / static_cast<double>(output.logits.rows());
  std::printf("deleted %.1f %% (target %.1f %%), %.1f %% of it noise; %.1f %% of the target ids right\n", 100 * rate,
              100 * target_rate, 100 * noise_deleted / deleted, 100 * accuracy);
  return std::abs(rate - target_rate) < 0.02 && noise_deleted > 0.95 * deleted && accuracy > 0.9 ? 0 : 1;
}
