// A training run with everything random switched on: dropout, gate noise, open and hard batches, two batches a step.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/data_cursor.hpp>
#include <merganser/io/checkpoints/checkpoint.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/training/trainer.hpp>

namespace merganser::testing {

/// All bytes of all tensors, in the order of the visit: equal for models of the same bits only.
template <class Model>
std::string bits_of(const Model& model) {
  std::string bits;
  for (const auto& view : parameter_views(const_cast<Model&>(model))) {
    const auto bytes = std::as_bytes(std::span(view.data, static_cast<std::size_t>(view.size())));
    bits.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return bits;
}

template <Real Scalar>
class TinyRun {
 public:
  using Model = models::EncoderDecoder<Scalar>;
  using Trainer = training::Trainer<Model>;

  /// With 80 sequences every kind of loop is shared between threads.
  explicit TinyRun(Index sequences = 4)
      : model(make_model()), trainer(model, settings()), data(2), sequences_(sequences) {}
  TinyRun(const TinyRun&) = delete;
  TinyRun& operator=(const TinyRun&) = delete;

  static typename Model::Config model_config() {
    typename Model::Config config;
    config.vocabulary = vocabulary;
    config.encoder.width = 16;
    config.encoder.heads = 2;
    config.encoder.head_width = 8;
    config.encoder.feed_forward_width = 24;
    config.encoder.blocks = 2;
    config.encoder.buckets = 6;
    config.encoder.max_distance = 4;
    config.encoder.dropout = 0.1;
    config.encoder.score_bound = nn::ScoreBound::soft_cap(8);
    return config;
  }

  static Vector<merge::Placement<Scalar>> policies() {
    typename merge::DeleteGate<Scalar>::Config gate;
    gate.width = model_config().encoder.width;
    gate.noise = merge::GateNoise::gumbel;
    return {merge::before_block(1, merge::DeleteGate<Scalar>(gate))};
  }

  static typename Trainer::Config settings() {
    typename Trainer::Config config;
    config.schedule = {5e-3, 5, 1000, training::Decay::cosine};
    config.optimizer.beta2 = 0.98;
    config.optimizer.weight_decay = 0.01;
    config.accumulated_batches = 2;
    config.objective.score_penalty = 0.1;
    config.objective.score_limit = 1;
    config.deletion.gate_open_until = 2;
    config.deletion.regulariser_from = 3;
    config.deletion.open_probability = 0.3;
    config.deletion.hard_probability = 0.4;
    config.deletion.controller = {0.3, 1.0, 1e-2, merge::ControllerRange::two_sided};
    config.deletion.collapse_rate = 0.05;  // so that collapsed steps are counted
    config.seed = 3;
    return config;
  }

  /// Copy four ids and end.
  data::Batch next_batch() {
    const auto copy_task = [](Rng& draw) {
      data::Example example;
      for (int t = 0; t < 4; ++t) example.source.push_back(static_cast<TokenId>(2 + draw.below(vocabulary - 2)));
      example.target = example.source;
      example.target.push_back(1);
      return example;
    };
    return data::make_random_batch(copy_task, sequences_, data);
  }

  void run_to(Index step) {
    trainer.run(step - trainer.steps_tried(), [this] { return next_batch(); });
  }

  io::Checkpoint<Model> checkpoint() const {
    io::Checkpoint<Model> result{trainer.state()};
    result.data.random = data;
    return result;
  }

  void resume(const std::filesystem::path& directory) {
    io::Checkpoint<Model> stored = io::load_checkpoint(model, directory);
    trainer.set_state(std::move(stored.trainer));
    data = stored.data.random;
  }

  /// Weights, moments and everything else that decides what comes.
  std::string bits() const {
    const auto state = trainer.state();
    const auto record = io::CheckpointRecord{io::DataType::f32,
                                             state.step,
                                             state.attempts,
                                             state.collapsed_steps,
                                             state.controller,
                                             state.rng,
                                             {data, 0, 0},
                                             {},
                                             {},
                                             {}};
    return bits_of(model) + bits_of(state.first_moment) + bits_of(state.second_moment) + std::to_string(state.updates) +
           io::to_json(record);
  }

  Model model;
  Trainer trainer;
  Rng data;

 private:
  static constexpr Index vocabulary = 9;

  static Model make_model() {
    Model model(model_config(), policies());
    Rng rng(1);
    model.initialize(rng);
    return model;
  }

  Index sequences_;
};

}  // namespace merganser::testing
