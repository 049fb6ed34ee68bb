#include <merganser/training/trainer.hpp>

#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <merganser/data/batcher.hpp>
#include <merganser/merge/policies/sampled_gate.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sequence_classifier.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"
#include "training/scripted_model.hpp"

namespace trainer_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using merge::DeletionMode;

using Model = models::EncoderDecoder<float>;
using ScriptedTrainer = Trainer<ScriptedModel>;

constexpr Index vocabulary = 9;

Model tiny_model(std::uint64_t seed, double dropout = 0) {
  Design<Model> config;
  config.vocabulary = vocabulary;
  config.encoder = tiny_stack();
  config.encoder.width = 16;
  config.encoder.feed_forward_width = 24;
  config.encoder.head_width = 8;
  config.encoder.dropout = dropout;
  config.encoder.score_bound = nn::ScoreBound::soft_cap(8);
  config.gates.push_back(gate_at(1));
  Model model = config.make();
  Rng rng(seed);
  model.initialize(rng);
  return model;
}

/// Copy four ids and end.
data::Batch copy_batch(Rng& rng, Index count = 8) {
  return data::make_random_batch(
      [](Rng& draw) {
        data::Example example;
        for (int t = 0; t < 4; ++t) example.source.push_back(static_cast<TokenId>(2 + draw.below(vocabulary - 2)));
        example.target = example.source;
        example.target.push_back(1);
        return example;
      },
      count, rng);
}

Trainer<Model>::Config settings(double rate = 5e-3) {
  Trainer<Model>::Config config;
  config.schedule = {rate, 5, 1000, Decay::constant};
  config.optimizer.beta2 = 0.98;
  config.deletion.controller = {0.25, 1.0, 1e-3};
  config.seed = 3;
  return config;
}

/// Trains from seeds alone; the weights at the end.
Vector<float> train(const Trainer<Model>::Config& config, Index steps, Index batch = 8) {
  Model model = tiny_model(1, 0.1);
  Trainer<Model> trainer(model, config);
  Rng data(2);
  trainer.run(steps, [&] { return copy_batch(data, batch); });
  return numbers_of(model);
}

data::Batch scripted_batch() {
  data::Batch batch;
  batch.push_back({{5, 6}, {0, 1, 1, 2}});
  return batch;
}

/// Says how often and with what the trainer called.
struct Listener {
  Vector<StepReport> steps;
  Vector<TrainingEvent> events;
  Index stop_at_step = -1;
  Continue on_events = Continue::yes;

  TrainerCallbacks callbacks() {
    TrainerCallbacks result;
    result.on_step = [this](const StepReport& report) {
      steps.push_back(report);
      return report.step == stop_at_step ? Continue::no : Continue::yes;
    };
    result.on_event = [this](TrainingEvent event, const StepReport&) {
      events.push_back(event);
      return on_events;
    };
    return result;
  }
};

TEST_CASE("training on copying lowers the loss and raises the accuracy", "[Trainer]") {
  const Threads one(1);
  Model model = tiny_model(1);
  Trainer<Model> trainer(model, settings());
  Rng data(2);
  Listener listener;
  trainer.run(
      600, [&] { return copy_batch(data); }, listener.callbacks());
  REQUIRE(listener.steps.size() == 600);
  REQUIRE(listener.steps.front().total > 2.0);
  REQUIRE(listener.steps.back().parts[0].value < 0.5 * listener.steps.front().parts[0].value);
  double accuracy = 0;  // one batch of a few tokens says little
  for (Index i = 580; i < 600; ++i) accuracy += listener.steps[i].token_accuracy / 20;
  REQUIRE(listener.steps.front().token_accuracy < 0.3);
  REQUIRE(accuracy > 0.6);
  REQUIRE(all_finite(model));
}

TEST_CASE("the same seed gives the same bits, another seed others", "[Trainer]") {
  const Threads one(1);
  auto config = settings();
  config.deletion.hard_probability = 0.5;
  const Vector<float> first = train(config, 15);
  REQUIRE(train(config, 15) == first);
  config.seed = 4;
  REQUIRE(train(config, 15) != first);
}

TEST_CASE("one and two threads train to the same bits", "[Trainer]") {
  auto config = settings();
  config.deletion.hard_probability = 0.5;
  config.objective.score_penalty = 0.1;
  config.objective.score_limit = 1;
  const auto run = [&](int threads) {
    const Threads chosen(threads);
    return train(config, 8, 80);  // large enough for every kind of loop to be shared
  };
  REQUIRE(run(1) == run(2));
}

TEST_CASE("two half batches make the gradient of one whole", "[Trainer]") {
  const Threads one(1);
  Rng data(2);
  const data::Batch first = copy_batch(data, 3), second = copy_batch(data, 3);
  data::Batch whole = first;
  for (Index i = 0; i < 3; ++i)
    whole.push_back({{second.source.sequence(i).begin(), second.source.sequence(i).end()},
                     {second.target.sequence(i).begin(), second.target.sequence(i).end()}});
  auto config = settings();
  config.max_gradient_norm = 1e6;
  Model at_once = tiny_model(1), in_parts = tiny_model(1);
  Trainer<Model> single(at_once, config);
  config.accumulated_batches = 2;
  Trainer<Model> accumulating(in_parts, config);
  const StepReport a = single.step(whole), b = accumulating.step(std::vector{first, second});
  REQUIRE(largest_difference(single.gradients(), accumulating.gradients()) <= agreement<float>);
  REQUIRE_THAT(b.total, WithinRel(a.total, 1e-5));
  REQUIRE_THAT(b.gradient_norm, WithinRel(a.gradient_norm, 1e-4));
  REQUIRE_THAT(b.deletion_rate, WithinAbs(a.deletion_rate, 1e-12));
  REQUIRE_THAT(b.token_accuracy, WithinAbs(a.token_accuracy, 1e-12));
  REQUIRE(b.source_tokens == a.source_tokens);
  REQUIRE(b.target_tokens == 30);
  REQUIRE(accumulating.steps_taken() == 1);
  REQUIRE(argument_error([&] { accumulating.step(first); }) == "Trainer::step: batches.size(): got 1, expected 2");
}

TEST_CASE("a report says what happened in its step", "[Trainer]") {
  const Threads one(1);
  Model model = tiny_model(1);
  auto config = settings();
  config.max_gradient_norm = 0.01;
  config.objective.score_penalty = 0.5;
  config.objective.score_limit = 0.5;
  Trainer<Model> trainer(model, config);
  Rng data(2);
  for (Index step = 0; step < 10; ++step) {
    const StepReport report = trainer.step(copy_batch(data, 3));
    REQUIRE(report.step == step);
    REQUIRE(report.learning_rate == LearningRateSchedule(config.schedule).rate(step));
    REQUIRE(report.source_tokens == 12);
    REQUIRE(report.target_tokens == 15);
    double total = 0;
    for (const ObjectivePart& part : report.parts) total += part.weight * part.value;
    REQUIRE_THAT(report.total, WithinRel(total, 1e-12));
    REQUIRE(report.parts[1].weight == report.alpha);
    REQUIRE(report.parts[2].value > 0);
    REQUIRE(report.gradient_norm > 0.01);
    REQUIRE_THAT(gradient_norm(trainer.gradients()), WithinRel(0.01, 1e-3));
    REQUIRE(trainer.optimizer().steps == step + 1);
  }
}

TEST_CASE("the gate is held open until its step", "[Trainer]") {
  const Threads one(1);
  ScriptedModel model;
  ScriptedTrainer::Config config;
  config.deletion.gate_open_until = 3;
  config.deletion.hard_probability = 1;
  config.deletion.survivor_bias = merge::SurvivorBias::dropped;
  ScriptedTrainer trainer(model, config);
  trainer.run(5, scripted_batch);
  const auto& asked = model.script->asked;
  REQUIRE(asked.size() == 5);
  for (Index step = 0; step < 5; ++step)
    REQUIRE(asked[step].deletion.mode == (step < 3 ? DeletionMode::none : DeletionMode::hard));
  REQUIRE(asked[4].deletion.survivor_bias == merge::SurvivorBias::dropped);
  REQUIRE_FALSE(asked[4].excess_limit.has_value());

  Model real = tiny_model(1);
  gate_in(real.encoder).bias(0) = -30;  // would delete everything
  auto real_config = settings(1e-6);
  real_config.deletion.gate_open_until = 1;
  Trainer<Model> real_trainer(real, real_config);
  Rng data(2);
  REQUIRE(real_trainer.step(copy_batch(data)).deletion_rate == 0.0);
  REQUIRE(real_trainer.step(copy_batch(data)).deletion_rate == 0.75);
}

TEST_CASE("the controller stands still until its step and then steers by the measured rate", "[Trainer]") {
  for (const merge::ControllerRange range : {merge::ControllerRange::non_negative, merge::ControllerRange::two_sided}) {
    ScriptedModel model;
    ScriptedTrainer::Config config;
    config.deletion.gate_open_until = 1;
    config.deletion.regulariser_from = 3;
    config.deletion.controller = {0.3, 2.0, 0.1, range};
    ScriptedTrainer trainer(model, config);
    merge::PiController expected(config.deletion.controller);
    for (Index step = 0; step < 8; ++step) {
      model.script->kept = step < 5 ? 9 : 2;
      const StepReport report = trainer.step(scripted_batch());
      const double measured = step < 1 ? 0.0 : step < 5 ? 0.1 : 0.8;  // the gate comes in with step 1
      REQUIRE_THAT(report.deletion_rate, WithinAbs(measured, 1e-12));
      REQUIRE(report.alpha == (step < 3 ? 0.0 : expected.alpha()));
      REQUIRE(report.parts[1].weight == report.alpha);
      if (step >= 3) expected.update(report.deletion_rate);
      REQUIRE(report.next_alpha == expected.alpha());
    }
    REQUIRE(trainer.controller().state().integral == expected.state().integral);
    REQUIRE((trainer.controller().alpha() < 0) == (range == merge::ControllerRange::two_sided));
  }
}

TEST_CASE("the target rises over its ramp", "[Trainer]") {
  ScriptedModel model;
  ScriptedTrainer::Config config;
  config.deletion.regulariser_from = 2;
  config.deletion.target_ramp = 4;
  config.deletion.controller = {0.4, 2.0, 0.1, merge::ControllerRange::two_sided};
  ScriptedTrainer trainer(model, config);
  merge::PiController expected(config.deletion.controller);
  for (Index step = 0; step < 9; ++step) {
    model.script->kept = 7;
    const StepReport report = trainer.step(scripted_batch());
    REQUIRE_THAT(report.deletion_rate, WithinAbs(0.3, 1e-12));
    if (step >= 2) expected.update(report.deletion_rate, std::min(0.4, 0.1 * static_cast<double>(step - 1)));
    REQUIRE_THAT(report.next_alpha, WithinAbs(expected.alpha(), 1e-15));
  }

  config.deletion.target_ramp = -1;
  REQUIRE_THROWS_AS(ScriptedTrainer(model, config), std::invalid_argument);
}

TEST_CASE("a share of the batches trains with hard deletion", "[Trainer]") {
  const Threads one(1);
  const auto hard_share = [](double probability) {
    ScriptedModel model;
    ScriptedTrainer::Config config;
    config.deletion.hard_probability = probability;
    ScriptedTrainer trainer(model, config);
    trainer.run(1000, scripted_batch);
    double hard = 0;
    for (const auto& asked : model.script->asked) hard += asked.deletion.mode == DeletionMode::hard ? 1 : 0;
    return hard / 1000;
  };
  REQUIRE(hard_share(0) == 0.0);
  REQUIRE(hard_share(1) == 1.0);
  REQUIRE_THAT(hard_share(0.3), WithinAbs(0.3, 0.05));
}

TEST_CASE("hard batches delete shares of a range if one is given, and nobody steers by them", "[Trainer]") {
  const Threads one(1);
  ScriptedModel model;
  model.script->kept = 2;
  ScriptedTrainer::Config config;
  config.deletion.hard_probability = 0.5;
  config.deletion.hard_rates = {0.2, 0.7};
  config.deletion.controller = {0.3, 2.0, 0.1, merge::ControllerRange::two_sided};
  ScriptedTrainer trainer(model, config);
  merge::PiController expected(config.deletion.controller);
  double lowest = 1, highest = 0, sum = 0;
  Index hard = 0;
  TrainerCallbacks callbacks;
  callbacks.on_step = [&](const StepReport& report) {
    const merge::DeletionOptions& asked = model.script->asked.back().deletion;
    REQUIRE(asked.target_rate.has_value() == (asked.mode == DeletionMode::hard));
    REQUIRE(report.gated_batches == (asked.target_rate ? 0 : 1));
    if (asked.target_rate) {
      lowest = std::min(lowest, *asked.target_rate);
      highest = std::max(highest, *asked.target_rate);
      sum += *asked.target_rate;
      ++hard;
    } else {
      expected.update(report.deletion_rate);
    }
    REQUIRE(report.next_alpha == expected.alpha());
    return Continue::yes;
  };
  trainer.run(1000, scripted_batch, callbacks);
  REQUIRE_THAT(lowest, WithinAbs(0.2, 0.01));
  REQUIRE_THAT(highest, WithinAbs(0.7, 0.01));
  REQUIRE_THAT(sum / static_cast<double>(hard), WithinAbs(0.45, 0.02));
}

TEST_CASE("a share of the batches trains without the gate, and nobody steers by them", "[Trainer]") {
  const Threads one(1);
  ScriptedModel model;
  model.script->kept = 2;
  ScriptedTrainer::Config config;
  config.deletion.gate_open_until = 2;
  config.deletion.open_probability = 0.3;
  config.deletion.hard_probability = 1;
  config.deletion.collapse_rate = 0.5;
  config.deletion.collapse_steps = 50;
  config.deletion.controller = {0.3, 2.0, 0.1, merge::ControllerRange::two_sided};
  ScriptedTrainer trainer(model, config);
  merge::PiController expected(config.deletion.controller);
  Index gated = 0, collapsed_at = 0;
  TrainerCallbacks callbacks;
  callbacks.on_step = [&](const StepReport& report) {
    const bool open = model.script->asked.back().deletion.mode == DeletionMode::none;
    REQUIRE(report.gated_batches == (open ? 0 : 1));
    REQUIRE_THAT(report.deletion_rate, WithinAbs(open ? 0.0 : 0.8, 1e-12));
    if (!open) expected.update(report.deletion_rate);
    REQUIRE(report.next_alpha == expected.alpha());
    gated += open ? 0 : 1;
    return Continue::yes;
  };
  callbacks.on_event = [&](TrainingEvent event, const StepReport&) {
    REQUIRE(event == TrainingEvent::deletion_collapse);
    collapsed_at = gated + 1;
    return Continue::yes;
  };
  trainer.run(1002, scripted_batch, callbacks);
  REQUIRE_THAT(static_cast<double>(gated) / 1000, WithinAbs(0.7, 0.05));
  REQUIRE(collapsed_at == 50);  // steps without the gate neither count nor interrupt
}

TEST_CASE("the control learns without its source, and nobody steers", "[Trainer]") {
  const Threads one(1);
  const auto trained_on = [](TokenId source) {
    Model model = tiny_model(1);
    Trainer<Model>::Config config = settings();
    config.optimizer.weight_decay = 0;
    config.deletion.without_source = true;
    config.deletion.gate_open_until = 2;  // has no say
    config.deletion.collapse_steps = 1;
    Trainer<Model> trainer(model, config);
    data::Batch batch;
    batch.push_back({{source, source, source}, {3, 4, 5, 1}});
    Listener listener;
    const double first = trainer.step(batch, listener.callbacks()).total;
    const StepReport last = trainer.run(
        60, [&] { return batch; }, listener.callbacks());
    REQUIRE(last.total < 0.2 * first);
    REQUIRE(last.gated_batches == 0);
    REQUIRE(last.next_alpha == 0.0);
    REQUIRE(listener.events.empty());
    REQUIRE(numbers_of(model.encoder) == numbers_of(tiny_model(1).encoder));
    return numbers_of(model);
  };
  REQUIRE(trained_on(6) == trained_on(7));
}

TEST_CASE("a loss that is not finite is an event, and nothing changes", "[Trainer]") {
  const Threads one(1);
  Model model = tiny_model(1, 0.1);
  auto config = settings();
  config.deletion.hard_probability = 0.5;
  Trainer<Model> trainer(model, config);
  Rng data(2);
  trainer.run(3, [&] { return copy_batch(data); });

  const float healthy = model.shared.weight(5, 0);
  model.shared.weight(5, 0) = std::numeric_limits<float>::quiet_NaN();
  data::Batch poisoned = copy_batch(data);
  poisoned.source.ids[0] = 5;
  const Model before = model;
  const auto moments = numbers_of(trainer.optimizer().first_moment);
  const Rng::State random = trainer.rng().state();
  const double alpha = trainer.controller().alpha();
  Listener listener;
  const StepReport report = trainer.step(poisoned, listener.callbacks());
  REQUIRE(std::isnan(report.total));
  REQUIRE(listener.events == std::vector{TrainingEvent::not_finite});
  REQUIRE(listener.steps.empty());
  REQUIRE(std::isnan(model.shared.weight(5, 0)));
  Model now = model, then = before;
  now.shared.weight(5, 0) = then.shared.weight(5, 0) = healthy;
  REQUIRE(numbers_of(now) == numbers_of(then));
  REQUIRE(numbers_of(trainer.optimizer().first_moment) == moments);
  REQUIRE(trainer.optimizer().steps == 3);
  REQUIRE(trainer.steps_taken() == 3);
  REQUIRE(trainer.rng().state() == random);
  REQUIRE(trainer.controller().alpha() == alpha);
  REQUIRE(report.next_alpha == report.alpha);

  model.shared.weight(5, 0) = healthy;  // and it goes on from there
  REQUIRE(std::isfinite(trainer.step(copy_batch(data), listener.callbacks()).total));
  REQUIRE(listener.steps.size() == 1);
  REQUIRE(listener.steps[0].step == 3);
  REQUIRE(all_finite(model));
}

TEST_CASE("a gradient that is not finite is an event, and nothing changes", "[Trainer]") {
  for (const double factor : {std::numeric_limits<double>::infinity(), std::nan(""), 1e200}) {
    ScriptedModel model;
    ScriptedTrainer trainer(model, {});
    model.script->random_draws = 5;
    model.script->gradient_factor = factor;
    Listener listener;
    const StepReport report = trainer.step(scripted_batch(), listener.callbacks());
    REQUIRE(std::isfinite(report.total));
    REQUIRE_FALSE(std::isfinite(report.gradient_norm));
    REQUIRE(listener.events == std::vector{TrainingEvent::not_finite});
    REQUIRE(model.bias == ScriptedModel().bias);
    REQUIRE(model.weight == ScriptedModel().weight);
    REQUIRE(trainer.rng().state() == Rng(0).state());
    REQUIRE(trainer.steps_taken() == 0);
    model.script->gradient_factor = 1;
    trainer.step(scripted_batch(), listener.callbacks());
    REQUIRE(listener.steps.size() == 1);
    REQUIRE(model.bias != ScriptedModel().bias);
  }
}

TEST_CASE("a run of steps that are not finite ends", "[Trainer]") {
  ScriptedModel model;
  model.script->gradient_factor = std::nan("");
  ScriptedTrainer trainer(model, {});
  Listener listener;
  trainer.run(7, scripted_batch, listener.callbacks());
  REQUIRE(listener.events.size() == 7);
  listener.events.clear();
  listener.on_events = Continue::no;
  trainer.run(7, scripted_batch, listener.callbacks());
  REQUIRE(listener.events.size() == 1);
  REQUIRE_NOTHROW(trainer.run(2, scripted_batch));  // nobody listens
}

TEST_CASE("a collapse is reported once, when it has lasted", "[Trainer]") {
  ScriptedModel model;
  model.script->tokens = 101;  // of which one stays
  ScriptedTrainer::Config config;
  config.deletion.collapse_rate = 0.95;
  config.deletion.collapse_steps = 4;
  ScriptedTrainer trainer(model, config);
  Listener listener;
  const auto run = [&](Index kept, Index steps) {
    model.script->kept = kept;
    trainer.run(steps, scripted_batch, listener.callbacks());
    return listener.events.size();
  };
  REQUIRE(run(1, 3) == 0);
  REQUIRE(run(50, 1) == 0);  // interrupted: it counts from anew
  REQUIRE(run(1, 3) == 0);
  REQUIRE(run(1, 1) == 1);
  REQUIRE(listener.events[0] == TrainingEvent::deletion_collapse);
  REQUIRE(run(1, 20) == 1);
  REQUIRE(run(6, 20) == 1);  // 95 of 100 are not above it
  REQUIRE(run(1, 4) == 2);

  listener.on_events = Continue::no;
  run(50, 1);
  listener.steps.clear();
  REQUIRE(run(1, 20) == 3);
  REQUIRE(listener.steps.size() == 4);  // the event stopped the run
}

TEST_CASE("short sequences can collapse, too, and those of one token say nothing", "[Trainer]") {
  ScriptedModel model;
  model.script->tokens = 16;
  model.script->kept = 1;  // a deletion rate of 0.9375
  ScriptedTrainer::Config config;
  config.deletion.collapse_steps = 4;
  ScriptedTrainer trainer(model, config);
  Listener listener;
  trainer.run(3, scripted_batch, listener.callbacks());
  model.script->tokens = 1;
  trainer.run(5, scripted_batch, listener.callbacks());
  REQUIRE(listener.events.empty());
  model.script->tokens = 16;
  trainer.run(1, scripted_batch, listener.callbacks());
  REQUIRE(listener.events == std::vector{TrainingEvent::deletion_collapse});
}

TEST_CASE("a step that would leave weights that are not finite is an event, and nothing changes", "[Trainer]") {
  for (const auto& [rate, decay] : {std::pair{1e38, 0.0}, std::pair{1e-3, 1e300}, std::pair{1e38, 1e300}}) {
    Model model = tiny_model(1, 0.1);
    auto config = settings();
    config.schedule = {rate, 0, 1000, Decay::constant};
    config.optimizer.weight_decay = decay;
    config.optimizer.epsilon = 1e-8;
    Trainer<Model> trainer(model, config);
    const Vector<float> weights = numbers_of(model), moments = numbers_of(trainer.optimizer().first_moment);
    Rng data(2);
    Listener listener;
    for (int step = 0; step < 3; ++step) trainer.step(copy_batch(data), listener.callbacks());
    CAPTURE(rate, decay);
    REQUIRE(listener.events == std::vector(3, TrainingEvent::not_finite));
    REQUIRE(numbers_of(model) == weights);
    REQUIRE(numbers_of(trainer.optimizer().first_moment) == moments);
    REQUIRE(numbers_of(trainer.optimizer().second_moment) == moments);
    REQUIRE(trainer.optimizer().steps == 0);
    REQUIRE(trainer.rng().state() == Rng(config.seed).state());
    REQUIRE(trainer.steps_taken() == 0);
  }
}

TEST_CASE("a batch that throws leaves everything as it was", "[Trainer]") {
  Model model = tiny_model(1, 0.1), untouched = model;
  auto config = settings();
  config.accumulated_batches = 2;
  Trainer<Model> trainer(model, config), other(untouched, config);
  Rng data(2);
  const std::vector good = {copy_batch(data), copy_batch(data)};
  std::vector bad = good;
  bad[1].source.ids[0] = vocabulary;  // the first batch has drawn its dropout by then
  REQUIRE_THROWS_AS(trainer.step(bad), std::invalid_argument);
  bad = good;
  bad[1].target.ids[0] = -7;
  REQUIRE_THROWS_AS(trainer.step(bad), std::invalid_argument);
  REQUIRE(trainer.steps_tried() == 0);
  REQUIRE(trainer.rng().state() == Rng(config.seed).state());
  REQUIRE(numbers_of(model) == numbers_of(untouched));
  trainer.step(good);
  other.step(good);
  REQUIRE(numbers_of(model) == numbers_of(untouched));
}

TEST_CASE("the gradient of parts of any size is that of the whole", "[Trainer]") {
  using Double = models::EncoderDecoder<double>;
  const Threads one(1);
  const bool pooled = GENERATE(false, true);
  Design<Double> sizes;
  sizes.vocabulary = vocabulary;
  sizes.encoder = tiny_stack();
  if (pooled)
    sizes.pooling = io::PoolingConfig{1};
  else
    sizes.gates = {gate_at(1)};
  const auto labels = [](int count) {
    std::vector<TokenId> result;
    for (int t = 0; t < count; ++t) result.push_back(static_cast<TokenId>(2 + t % 7));
    return result;
  };
  // 2 and 98 labels, 4 and 16 tokens, 1 and 2 sequences that have any.
  std::vector<data::Example> examples = {{{5, 6, 7, 2}, labels(2)},
                                         {{2, 3, 0, 4, 5, 6, 7, 8, 2, 0}, labels(50)},
                                         {{2, 3, 0, 4, 5, 6, 7, 8, 2, 0}, labels(48)},
                                         {{0, 0}, labels(1)}};
  examples[1].target[7] = ignored_label;
  const data::Batch whole = data::make_batch(examples), small = data::make_batch(std::span(examples).first(1)),
                    large = data::make_batch(std::span(examples).subspan(1));
  Trainer<Double>::Config config;
  config.max_gradient_norm = 1e9;
  config.deletion.controller.range = merge::ControllerRange::two_sided;
  const auto after_one = [&](Index parts, std::vector<data::Batch> batches, Vector<double>& gradient) {
    Double model = sizes.make();
    fill_model(model, 3);
    config.accumulated_batches = parts;
    Trainer<Double> trainer(model, config);
    auto state = trainer.state();
    state.controller.integral = 0.5;  // alpha
    trainer.set_state(state);
    const StepReport report = trainer.step(batches);
    gradient = numbers_of(trainer.gradients());
    return report;
  };
  Vector<double> at_once, in_parts;
  const StepReport a = after_one(1, {whole}, at_once), b = after_one(2, {small, large}, in_parts);
  double product = 0, first = 0, second = 0;
  for (Index i = 0; i < at_once.size(); ++i) {
    product += at_once[i] * in_parts[i];
    first += at_once[i] * at_once[i];
    second += in_parts[i] * in_parts[i];
  }
  REQUIRE(a.alpha == 0.5);
  REQUIRE(a.deletion_rate > 0);
  REQUIRE_THAT(product / std::sqrt(first * second), WithinAbs(1.0, 1e-12));
  REQUIRE_THAT(second, WithinRel(first, 1e-12));
  REQUIRE_THAT(b.total, WithinRel(a.total, 1e-12));
  REQUIRE(b.parts.size() == a.parts.size());
  for (Index i = 0; i < a.parts.size(); ++i) {
    CAPTURE(a.parts[i].name);
    REQUIRE_THAT(b.parts[i].value, WithinAbs(a.parts[i].value, 1e-12));
  }
  REQUIRE_THAT(b.token_accuracy, WithinAbs(a.token_accuracy, 1e-15));
  REQUIRE_THAT(b.deletion_rate, WithinAbs(a.deletion_rate, 1e-15));
  REQUIRE(b.source_tokens == 20);  // without pads
  REQUIRE(a.source_tokens == 20);
}

TEST_CASE("a callback can stop a run", "[Trainer]") {
  ScriptedModel model;
  ScriptedTrainer trainer(model, {});
  Listener listener;
  listener.stop_at_step = 4;
  REQUIRE(trainer.run(100, scripted_batch, listener.callbacks()).step == 4);
  REQUIRE(trainer.steps_taken() == 5);
  REQUIRE(listener.steps.size() == 5);
  REQUIRE(trainer.run(2, scripted_batch, listener.callbacks()).step == 6);
  REQUIRE(trainer.run(0, scripted_batch).step == 0);
  REQUIRE(trainer.steps_taken() == 7);
}

TEST_CASE("the score penalty asks for its limit", "[Trainer]") {
  ScriptedModel model;
  model.script->score_excess = 2;
  ScriptedTrainer::Config config;
  config.objective = {0.25, 3.5};
  ScriptedTrainer trainer(model, config);
  const StepReport report = trainer.step(scripted_batch());
  REQUIRE(model.script->asked[0].excess_limit == 3.5);
  REQUIRE_THAT(report.total, WithinRel(std::log(3.0) + 0.25 * 2, 1e-12));
}

/// Class 1: the id 7 is somewhere in the sequence.
data::Batch batch_with_sevens(Rng& rng) {
  return data::make_random_batch(
      [](Rng& draw) {
        data::Example example;
        for (int t = 0; t < 5; ++t) example.source.push_back(static_cast<TokenId>(2 + draw.below(5)));
        const bool present = draw.bernoulli(0.5);
        if (present) example.source[draw.below(5)] = 7;
        example.target = {present ? 1 : 0};
        return example;
      },
      16, rng);
}

TEST_CASE("a classifier trains through the same trainer", "[Trainer]") {
  const Threads one(1);
  using Classifier = models::SequenceClassifier<float>;
  Design<Classifier> config;
  config.vocabulary = 8;
  config.encoder = tiny_stack();
  config.encoder.width = 12;
  config.encoder.blocks = 1;
  config.gates.push_back(gate_at(0));
  Classifier model = config.make();
  Rng rng(1);
  model.initialize(rng);
  Trainer<Classifier>::Config training;
  training.schedule = {1e-2, 5, 1000, Decay::constant};
  Trainer<Classifier> trainer(model, training);
  const auto next = [&] { return batch_with_sevens(rng); };
  const double first = trainer.step(next()).total;
  const StepReport last = trainer.run(200, next);
  REQUIRE(last.parts[0].value < 0.3 * first);
  REQUIRE(last.token_accuracy > 0.9);
}

TEST_CASE("a gate that draws its decisions is rewarded by the losses of sequences", "[Trainer]") {
  const Threads one(1);
  using Classifier = models::SequenceClassifier<float>;
  Classifier::Config config;
  config.vocabulary = 8;
  config.encoder = tiny_stack();
  config.encoder.width = 12;
  config.encoder.blocks = 1;
  Classifier model(config, {merge::before_block(0, merge::SampledGate<float>({.width = 12}))});
  Rng rng(1);
  model.initialize(rng);
  Trainer<Classifier>::Config training;
  training.schedule = {1e-2, 5, 1000, Decay::constant};
  training.deletion.hard_probability = 1;
  training.deletion.controller = {.target = 0.5, .integral_gain = 1e-2};
  Trainer<Classifier> trainer(model, training);
  const auto next = [&] { return batch_with_sevens(rng); };
  const StepReport first = trainer.step(next());
  REQUIRE(first.alpha == 0);
  REQUIRE(first.deletion_rate > 0);
  auto* gate = trainer.gradients().encoder.policies[0].policy.target<merge::SampledGate<float>>();
  REQUIRE(gate != nullptr);
  REQUIRE(gate->predictor.biases[3].norm() > 0);  // which nothing but the reward moves
  const StepReport last = trainer.run(400, next);
  REQUIRE(last.parts[0].value < 0.3 * first.total);
  REQUIRE(last.deletion_rate > 0.4);
  const data::Batch fresh = next();
  const auto output = model.forward(fresh.source);
  for (Index t = 0; t < fresh.source.total(); ++t)
    if (fresh.source.ids[t] == 7) REQUIRE(output.encoded.reports[0].group[t] >= 0);
}

TEST_CASE("labels of sequences reach the policies", "[Trainer]") {
  ScriptedModel model;
  ScriptedTrainer trainer(model, {});
  const std::vector<data::Example> examples = {{{5, 6}, {1}}, {{7}, {2}}};
  data::Batch batch = data::make_batch(examples);
  trainer.step(batch);
  REQUIRE(model.script->asked[0].deletion.labels.empty());
  batch.labels = {1, 0};
  trainer.step(batch);
  REQUIRE(model.script->asked[1].deletion.labels.data() == batch.labels.data());
  REQUIRE(model.script->asked[1].deletion.labels.size() == 2);
}

TEST_CASE("an empty batch takes a step of nothing", "[Trainer]") {
  const Threads one(1);
  Model model = tiny_model(1);
  const auto before = numbers_of(model);
  Trainer<Model> trainer(model, settings());
  const StepReport report = trainer.step(data::Batch());
  REQUIRE(report.total == 0.0);
  REQUIRE(report.gradient_norm == 0.0);
  REQUIRE(numbers_of(model) == before);
}

TEST_CASE("a trainer refuses settings out of range", "[Trainer]") {
  ScriptedModel model;
  const auto error = [&](auto change) {
    ScriptedTrainer::Config config;
    change(config);
    return argument_error([&] { ScriptedTrainer(model, config); });
  };
  REQUIRE(error([](auto& config) { config.accumulated_batches = 0; }) ==
          "Trainer: accumulated_batches: got 0, expected at least 1");
  REQUIRE(error([](auto& config) { config.deletion.open_probability = -1; }) ==
          "Trainer: deletion.open_probability: got -1, expected in [0, 1]");
  REQUIRE(error([](auto& config) { config.deletion.hard_probability = 1.5; }) ==
          "Trainer: deletion.hard_probability: got 1.5, expected in [0, 1]");
  REQUIRE(error([](auto& config) {
            config.deletion.hard_rates = {0.7, 0.2};
          }) == "Trainer: deletion.hard_rates.lowest: got 0.7, expected at least 0 and no more than the highest");
  REQUIRE(error([](auto& config) {
            config.deletion.hard_rates = {0.2, 1.5};
          }) == "Trainer: deletion.hard_rates.highest: got 1.5, expected at most 1");
  const auto only_by_rank = [](auto& config) {
    config.deletion.hard_rates = {0.2, 0.7};
    config.deletion.hard_probability = 1;
  };
  REQUIRE(error(only_by_rank) ==
          "Trainer: deletion.hard_probability: got 1, expected less than 1 with hard_rates, as "
          "the controller steers by the other batches");
  REQUIRE(error([&](auto& config) {
            only_by_rank(config);
            config.deletion.controller.proportional_gain = config.deletion.controller.integral_gain = 0;
          }) == "nothing thrown");
  REQUIRE(error([](auto& config) { config.schedule.peak = -1; }) ==
          "LearningRateSchedule: peak: got -1, expected a positive number");
  REQUIRE(error([](auto& config) { config.optimizer.epsilon = 0; }) ==
          "AdamW: epsilon: got 0, expected a positive number");
  REQUIRE(error([](auto& config) { config.deletion.controller.target = 2; }) ==
          "PiController: target: got 2, expected in [0, 1]");
  REQUIRE(error([](auto& config) { config.max_gradient_norm = 0; }) ==
          "Trainer: max_gradient_norm: got 0, expected a positive number");
  REQUIRE(error([](auto& config) { config.deletion.collapse_steps = 0; }) ==
          "Trainer: deletion.collapse_steps: got 0, expected at least 1");
}

}  // namespace trainer_test
