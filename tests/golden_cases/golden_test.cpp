// Every case directory of the golden vectors: each quantity in float and in double, padded as the reference and ragged.
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/merge/pi_controller.hpp>
#include <merganser/models/generation.hpp>
#include <merganser/training/adamw.hpp>
#include <merganser/training/gradient_clipping.hpp>
#include <merganser/training/learning_rate_schedule.hpp>
#include <merganser/training/objective.hpp>

#include "golden_cases/golden_case.hpp"
#include "golden_cases/padded_policies.hpp"
#include "support/catch.hpp"

namespace merganser::testing {
namespace golden_test {

using merge::DeletionMode;
using merge::DeletionOptions;

DeletionMode mode_of(const std::string& prefix) {
  if (prefix.starts_with("soft")) return DeletionMode::soft;
  return prefix.starts_with("hard") ? DeletionMode::hard : DeletionMode::none;
}

DeletionOptions without_survivor_bias(DeletionMode mode) {
  DeletionOptions options = DeletionOptions::with_mode(mode);
  options.survivor_bias = merge::SurvivorBias::dropped;
  return options;
}

/// What the gate saw.
template <Real Scalar>
Matrix<Scalar> entered_gate(const typename models::Encoder<Scalar>::Cache& cache) {
  const auto& gate = cache.policies.front();
  if (const auto* learned = gate.template target<PaddedDeletion<Scalar, merge::DeleteGate<Scalar>>>())
    return learned->entered;
  return gate.template target<PaddedDeletion<Scalar, merge::FixedRuleGate>>()->entered;
}

/// The call exactly as the reference makes it: pads are tokens, hidden by the mask if there is one.
template <Real Scalar>
void check_padded(Case<Scalar>& c, const std::string& full_prefix) {
  using Model = models::EncoderDecoder<Scalar>;
  const Model model = as_reference(c.model, {});
  const bool masked = !full_prefix.starts_with("nomask.");
  const std::string prefix = masked ? full_prefix : full_prefix.substr(7);
  const Padded input = Padded::of(c.file, "input_ids");
  const GoldenBatch batch =
      GoldenBatch::padded(c.file.integers("input_ids"),
                          masked ? c.file.integers("attention_mask") : std::vector<std::int64_t>{}, input.batch);
  const TokenBatch labels = labels_of(c.file, "labels");
  typename Model::ForwardOptions options;
  options.deletion = without_survivor_bias(mode_of(prefix));
  options.hidden = batch.hidden;
  Rng rng(0);
  typename Model::Cache cache;
  const auto trained = model.forward_targets(batch.tokens, labels, options, rng, cache);
  const auto output = model.forward_targets(batch.tokens, labels, options);

  const models::EncoderOutput<Scalar>& encoded = output.encoded;
  const Index slots = encoded.hidden.offsets.max_length();
  Vector<Index> real(input.batch, slots);
  if (mode_of(prefix) == DeletionMode::hard) {
    std::vector<std::int64_t> positions(encoded.hidden.positions.begin(), encoded.hidden.positions.end()), lengths;
    std::vector<double> mask;
    for (Index b = 0; b < input.batch; ++b) {
      Index& length = real[b];
      length = 0;
      for (Index n = 0; n < slots; ++n) {
        mask.push_back(static_cast<double>(encoded.key_bias.at(b * slots + n)));
        if (mask.back() == 0.0) ++length;
      }
      lengths.push_back(length);
    }
    c.report.compare_exactly(full_prefix + "positions", positions, c.file.integers(full_prefix + "positions"));
    c.report.compare_exactly(full_prefix + "lengths", lengths, c.file.integers(full_prefix + "lengths"));
    compare(c, full_prefix, "mask", mask);
  }
  const auto real_slots = [&](Index width) {
    return [&, width](const std::vector<double>& values) {
      return select_rows(values, {input.batch, slots, width}, [&](Index b, Index n) { return n < real[b]; });
    };
  };
  const Index width = model.config().encoder.width;
  const auto hidden_rows = [&](const std::string& name, const Matrix<Scalar>& rows) {
    const auto select = real_slots(width);
    compare(c, full_prefix, name, select(to_numbers(rows)), select);
  };
  hidden_rows("encoder_last_hidden_state", encoded.hidden.values);
  compare(c, full_prefix, "logits", to_numbers(output.logits));
  compare(c, full_prefix, "logits", to_numbers(trained.logits));
  compare(c, full_prefix, "loss", {nn::CrossEntropy<Scalar>().forward(output.logits, labels.ids).mean});
  if (!encoded.reports.empty()) {
    compare(c, full_prefix, "gate", to_numbers(encoded.reports.front().scores));
    compare(c, full_prefix, "gate_logits", to_numbers(encoded.reports.front().logits));
  }
  const bool has_gate = !model.encoder.policies.empty();
  for (Index b = 0; b < cache.encoder.blocks.size(); ++b) {
    const std::string name = "encoder_hidden." + std::to_string(b);
    const Matrix<Scalar>& entered = cache.encoder.blocks[b].attention_norm.input;
    if (has_gate && mode_of(prefix) == DeletionMode::hard) {
      const Index gate_block = model.encoder.policies.front().block;
      if (b < gate_block) compare(c, full_prefix, name, to_numbers(entered));
      if (b == gate_block)  // what the gate saw, at the full length
        compare(c, full_prefix, name, to_numbers(entered_gate<Scalar>(cache.encoder)));
      if (b > gate_block) hidden_rows(name, entered);
    } else {
      compare(c, full_prefix, name, to_numbers(entered));
    }
  }
  for (Index b = 0; b < cache.decoder.blocks.size(); ++b)
    compare(c, full_prefix, "decoder_hidden." + std::to_string(b), to_numbers(cache.decoder.blocks[b].self_norm.input));
  Matrix<Scalar> last = cache.head_input;
  if (model.config().head == models::Head::tied) last *= std::sqrt(static_cast<Scalar>(width));
  compare(c, full_prefix, "decoder_hidden." + std::to_string(cache.decoder.blocks.size()), to_numbers(last));
}

/// The same call without padding anywhere: logits, survivors and their vectors must come out the same.
template <Real Scalar>
void check_ragged(Case<Scalar>& c, const std::string& prefix) {
  using Model = models::EncoderDecoder<Scalar>;
  const Model model = as_reference(c.model, {.pad = {}, .fills_up = false});
  const Padded input = Padded::of(c.file, "input_ids");
  const std::vector<std::int64_t> mask = c.file.integers("attention_mask");
  const GoldenBatch batch = GoldenBatch::ragged(c.file.integers("input_ids"), mask, input.batch);
  typename Model::ForwardOptions options;
  options.deletion = without_survivor_bias(mode_of(prefix));
  const auto output = model.forward_targets(batch.tokens, labels_of(c.file, "labels"), options);
  compare(c, prefix, "logits", to_numbers(output.logits));
  const SequenceOffsets& offsets = output.encoded.hidden.offsets;
  const Padded slots = Padded::of(c.file, prefix + "encoder_last_hidden_state");
  const auto select = [&](const std::vector<double>& values) {
    return select_rows(values, slots, [&](Index b, Index n) { return n < offsets.length(b); });
  };
  compare(c, prefix, "encoder_last_hidden_state", to_numbers(output.encoded.hidden.values), select);
  if (mode_of(prefix) != DeletionMode::hard) return;
  const std::vector<std::int64_t> padded_positions = c.file.integers(prefix + "positions");
  std::vector<std::int64_t> expected, lengths;
  for (Index b = 0; b < input.batch; ++b) {
    lengths.push_back(offsets.length(b));
    for (Index n = 0; n < offsets.length(b) && n < slots.length; ++n)
      expected.push_back(padded_positions[static_cast<std::size_t>(b * slots.length + n)]);
  }
  const auto& got = output.encoded.hidden.positions;
  c.report.compare_exactly("ragged " + prefix + "positions", {got.begin(), got.end()}, expected);
  c.report.compare_exactly("ragged " + prefix + "lengths", lengths, c.file.integers(prefix + "lengths"));
}

template <Real Scalar>
void check_generation(Case<Scalar>& c, const std::string& prefix) {
  const Padded input = Padded::of(c.file, "input_ids");
  const GoldenBatch batch =
      GoldenBatch::ragged(c.file.integers("input_ids"), c.file.integers("attention_mask"), input.batch);
  typename models::EncoderDecoder<Scalar>::ForwardOptions forward;
  forward.deletion = without_survivor_bias(mode_of(prefix));
  const auto model = as_reference(c.model, {.pad = {}, .fills_up = false});
  models::GenerationOptions options;
  options.max_length = static_cast<Index>(c.file.integers("max_length").at(0));
  options.step_logits = models::StepLogits::kept;
  const auto result = models::generate(model, batch.tokens, options, forward);
  const Padded ids = Padded::of(c.file, prefix + "ids");
  std::vector<std::int64_t> got;
  for (Index b = 0; b < ids.batch; ++b) {
    const auto sequence = result.ids.sequence(b);
    for (Index n = 0; n < ids.length; ++n)
      got.push_back(n < static_cast<Index>(sequence.size()) ? sequence[static_cast<std::size_t>(n)] : 0);
  }
  c.report.compare_exactly(prefix + "ids", got, c.file.integers(prefix + "ids"));
  const Padded steps = Padded::of(c.file, prefix + "step_logits");
  const auto written = [&](Index b, Index step) { return step + 1 < result.ids.offsets.length(b); };
  std::vector<double> logits;
  for (Index b = 0; b < steps.batch; ++b)
    for (Index step = 0; step < steps.length; ++step)
      if (written(b, step)) {
        const RowVector<Scalar> row = result.step_logits.at(step).row(b);
        logits.insert(logits.end(), row.begin(), row.end());
      }
  compare(c, prefix, "step_logits", logits,
          [&](const std::vector<double>& values) { return select_rows(values, steps, written); });
}

template <Real Scalar>
void check_gradients(Case<Scalar>& c, const std::string& prefix) {
  using Model = models::EncoderDecoder<Scalar>;
  const Padded input = Padded::of(c.file, "input_ids");
  const GoldenBatch batch =
      GoldenBatch::padded(c.file.integers("input_ids"), c.file.integers("attention_mask"), input.batch);
  const TokenBatch labels = labels_of(c.file, "labels");
  const double alpha = numbers(c.file, "alpha").at(0);
  training::ObjectiveConfig objective;
  objective.score_penalty = numbers(c.file, "beta").at(0);
  typename Model::ForwardOptions options;
  options.deletion = without_survivor_bias(mode_of(prefix));
  options.hidden = batch.hidden;
  options.excess_limit = objective.score_limit;
  const Model model = as_reference(c.model, {});
  Rng rng(0);
  typename Model::Cache cache;
  const auto output = model.forward_targets(batch.tokens, labels, options, rng, cache);
  const auto result = training::evaluate_objective<Model>(output, labels.ids, objective, alpha);
  compare(c, prefix, "loss.total", {result.total});
  compare(c, prefix, "loss.ce", {result.part("cross_entropy")});
  compare(c, prefix, "loss.gate_mean", {result.part("gate")});
  compare(c, prefix, "loss.scores", {result.part("score_excess")});
  Model gradients = zeros_like(model);
  model.backward(result.grad, cache, gradients);
  const std::string grad = prefix == "soft." ? "grad." : prefix + "grad.";
  for (const auto& view : parameter_views(gradients)) {
    if (!c.file.contains(grad + view.name)) c.report.miss(grad + view.name, "no expected gradient in the case");
    std::vector<double> got;
    for (Index i = 0; i < view.size(); ++i) got.push_back(static_cast<double>(view.data[i]));
    compare(c, grad, view.name, got);
  }
  if (prefix != "soft.") return;
  using merge::GateRegulariser;
  const std::pair<const char*, GateRegulariser> variants[] = {{"gate_mean_loss", GateRegulariser::mean_gate},
                                                              {"clamped_logits_mean", GateRegulariser::clamped_logits},
                                                              {"logits_mean", GateRegulariser::logits},
                                                              {"gate_var_loss", GateRegulariser::variance}};
  for (const auto& [name, kind] : variants) {
    objective.score_penalty = 0;
    const Model other = as_reference(c.model, {}, {}, kind);
    const auto said = other.forward_targets(batch.tokens, labels, options);
    const auto variant = training::evaluate_objective<Model>(said, labels.ids, objective, alpha);
    const std::string full = std::string("variant.") + name + ".total";
    c.report.template compare<Scalar>(full, {variant.total}, numbers(c.file, full));
  }
}

template <Real Scalar>
void check_training(Case<Scalar>& c) {
  using Model = models::EncoderDecoder<Scalar>;
  const nlohmann::json& hyper = c.about.at("hyper");
  Model model = as_reference(c.model, {});
  training::AdamW<Model> optimizer(model,
                                   {hyper.at("beta1"), hyper.at("beta2"), hyper.at("eps"), hyper.at("weight_decay")});
  const training::LearningRateSchedule schedule(
      {hyper.at("lr"), hyper.at("warmup"), hyper.at("max_steps"), training::Decay::linear, 0.0});
  merge::PiController controller({hyper.at("target"), hyper.at("kp"), hyper.at("ki")});
  training::ObjectiveConfig objective;
  objective.score_penalty = hyper.at("beta");
  std::map<std::string, std::vector<double>> log;
  double alpha = hyper.at("alpha0");
  for (Index step = 0; step < hyper.at("steps").get<Index>(); ++step) {
    const std::string name = "batch." + std::to_string(step) + ".";
    const GoldenBatch batch =
        GoldenBatch::padded(c.file.integers(name + "input_ids"), c.file.integers(name + "attention_mask"),
                            Padded::of(c.file, name + "input_ids").batch);
    const TokenBatch labels = labels_of(c.file, name + "labels");
    typename Model::ForwardOptions options;
    options.deletion = without_survivor_bias(DeletionMode::soft);
    options.hidden = batch.hidden;
    options.excess_limit = objective.score_limit;
    Rng rng(0);
    typename Model::Cache cache;
    const auto output = model.forward_targets(batch.tokens, labels, options, rng, cache);
    const double rate = output.encoded.reports.front().deletion().deletion_rate();  // without pads
    const auto result = training::evaluate_objective<Model>(output, labels.ids, objective, alpha);
    Model gradients = zeros_like(model);
    model.backward(result.grad, cache, gradients);
    log["total"].push_back(result.total);
    log["ce"].push_back(result.part("cross_entropy"));
    log["gate_mean"].push_back(result.part("gate"));
    log["scores"].push_back(result.part("score_excess"));
    log["alpha_used"].push_back(alpha);
    log["deleted_rate"].push_back(rate);
    log["grad_norm"].push_back(training::clip_gradients(gradients, hyper.at("max_grad_norm").get<double>()));
    log["lr"].push_back(schedule.rate(step));
    optimizer.step(model, gradients, schedule.rate(step));
    alpha = controller.update(rate);
    log["alpha_next"].push_back(alpha);
  }
  // The log of the case was written in single precision, so the tolerance is that of single precision.
  for (const auto& [name, values] : log) compare(c, "log.", name, values);
  for (const auto& view : parameter_views(model)) {
    std::vector<double> got;
    for (Index i = 0; i < view.size(); ++i) got.push_back(static_cast<double>(view.data[i]));
    compare(c, "after.", view.name, got);
  }
}

template <Real Scalar>
bool check_case(const std::filesystem::path& directory) {
  Case<Scalar> c(directory);
  if (c.file.contains("batch.0.input_ids")) {
    check_training(c);
  } else {
    for (const std::string prefix : {"out.", "soft.", "hard.", "nomask.out.", "nomask.soft.", "nomask.hard."}) {
      if (c.file.contains(prefix + "logits")) check_padded(c, prefix);
      if (c.file.contains(prefix + "logits") && !prefix.starts_with("nomask.")) check_ragged(c, prefix);
      if (c.file.contains(prefix + "ids")) check_generation(c, prefix);
      if (c.file.contains(prefix + "loss.total")) check_gradients(c, prefix);
    }
  }
  return finish(c);
}

TEST_CASE("every golden case directory agrees with the reference") {
  int checked = 0;
  for (const auto& directory : case_directories()) {
    if (is_pooling(directory)) continue;  // pooling_golden_test.cpp
    INFO(directory);
    CHECK(check_case<float>(directory));
    CHECK(check_case<double>(directory));
    ++checked;
  }
  CHECK(checked > 0);
}

}  // namespace golden_test
}  // namespace merganser::testing
