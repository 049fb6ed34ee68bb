// The case directories of the pooling baselines: padded as the reference makes the call, and without padding.
#include <filesystem>
#include <string>
#include <vector>

#include <merganser/evaluation/predicted_cost.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/training/objective.hpp>

#include "golden_cases/golden_case.hpp"
#include "golden_cases/padded_policies.hpp"
#include "support/catch.hpp"

namespace merganser::testing {
namespace pooling_golden_test {

using merge::DeletionMode;
using merge::DeletionOptions;

/// A batch on its way into the encoder.
template <Real Scalar>
struct Source {
  GoldenBatch batch;
  models::EncoderInput<Scalar> input;

  Source(const Case<Scalar>& c, GoldenBatch tokens)
      : batch(std::move(tokens)),
        input{{c.model.shared.forward(batch.tokens.ids), batch.tokens.offsets}, batch.tokens.ids, batch.hidden} {}
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
};

template <Real Scalar>
std::vector<double> uniform_of(const Case<Scalar>& c, const std::string& prefix) {
  return c.file.contains(prefix + "uniform") ? numbers(c.file, prefix + "uniform") : std::vector<double>{};
}

/// What the pooling saw.
template <Real Scalar>
Matrix<Scalar> entered_pooling(const typename models::Encoder<Scalar>::Cache& cache) {
  const auto& pooling = cache.policies.front();
  if (const auto* boundaries = pooling.template target<PaddedPooling<Scalar, merge::BoundaryPooling<Scalar>>>())
    return boundaries->entered;
  return pooling.template target<PaddedPooling<Scalar, merge::StridedPooling<Scalar>>>()->entered;
}

/// The call exactly as the reference makes it: pads are tokens, hidden by the mask.
template <Real Scalar>
void check_padded(Case<Scalar>& c, const std::string& prefix) {
  using Model = models::EncoderDecoder<Scalar>;
  const Model model = as_reference(c.model, {}, uniform_of(c, prefix));
  const Index batch = Padded::of(c.file, "input_ids").batch, width = model.config().encoder.width;
  const Source<Scalar> source(
      c, GoldenBatch::padded(c.file.integers("input_ids"), c.file.integers("attention_mask"), batch));
  const TokenBatch labels = labels_of(c.file, "labels");
  const TokenBatch decoder_input = models::shift_right(labels, model.config().start, model.config().pad);
  const DeletionOptions options = DeletionOptions::with_mode(DeletionMode::none);
  Rng rng(0);
  typename models::Encoder<Scalar>::Cache cache;
  typename Model::Output output;
  output.encoded = model.encoder.forward(source.input, options, rng, cache);
  const models::EncoderOutput<Scalar> inferred = model.encoder.forward(source.input, options);
  typename models::Decoder<Scalar>::Cache decoded;
  const Matrix<Scalar> last = model.decoder.forward({model.shared.forward(decoder_input.ids), decoder_input.offsets},
                                                    output.encoded, rng, decoded);
  output.logits = model.head(last);

  const merge::PolicyReport<Scalar>& report = output.encoded.reports.at(0);
  const std::vector<Index> lengths = evaluation::kept_lengths(report);
  const Index slots = output.encoded.hidden.offsets.max_length();
  const auto real_slots = [&](const std::vector<double>& values) {
    return select_rows(values, {batch, slots, width},
                       [&](Index b, Index n) { return n < lengths[static_cast<std::size_t>(b)]; });
  };
  const auto compare_pooled = [&](const std::string& name, const Matrix<Scalar>& rows) {
    compare(c, prefix, name, real_slots(to_numbers(rows)), real_slots);
  };
  compare_pooled("encoder_last_hidden_state", output.encoded.hidden.values);
  compare_pooled("encoder_last_hidden_state", inferred.hidden.values);
  const Index block = model.encoder.policies.front().block;
  for (Index b = 0; b < cache.blocks.size(); ++b) {
    const std::string name = "encoder_hidden." + std::to_string(b);
    const Matrix<Scalar>& entered = cache.blocks[b].attention_norm.input;
    if (b < block) compare(c, prefix, name, to_numbers(entered));
    if (b == block) compare(c, prefix, name, to_numbers(entered_pooling<Scalar>(cache)));  // at the full length
    if (b > block) compare_pooled(name, entered);
  }
  for (Index b = 0; b < decoded.blocks.size(); ++b)
    compare(c, prefix, "decoder_hidden." + std::to_string(b), to_numbers(decoded.blocks[b].self_norm.input));
  compare(c, prefix, "decoder_hidden." + std::to_string(decoded.blocks.size()), to_numbers(last));
  compare(c, prefix, "logits", to_numbers(output.logits));
  compare(c, prefix, "logits", to_numbers(model.decode(decoder_input, inferred)));
  const auto objective = training::evaluate_objective<Model>(output, labels.ids, {}, 0.0);
  compare(c, prefix, "loss", {objective.part("cross_entropy")});
  if (c.file.contains(prefix + "boundaries")) {
    compare(c, prefix, "boundaries", to_numbers(report.scores));
    compare(c, prefix, "boundary_logits", to_numbers(report.logits));
    compare(c, prefix, "boundary_loss", {objective.part("boundary_prior")});
  }
  if (prefix != "out.") return;
  typename Model::ForwardOptions call;
  call.deletion = options;
  call.hidden = source.batch.hidden;
  compare(c, prefix, "logits", to_numbers(model.forward_targets(source.batch.tokens, labels, call).logits));
}

/// Without padding: a row for which the reference neither pooled pads nor filled up must come out the same.
template <Real Scalar>
void check_ragged(Case<Scalar>& c, const std::string& prefix) {
  const Padded input = Padded::of(c.file, "input_ids");
  const std::vector<std::int64_t> mask = c.file.integers("attention_mask");
  std::vector<double> noise;
  const std::vector<double> padded_noise = uniform_of(c, prefix);
  for (std::size_t t = 0; t < padded_noise.size(); ++t)
    if (mask[t] != 0) noise.push_back(padded_noise[t]);
  const Source<Scalar> source(c, GoldenBatch::ragged(c.file.integers("input_ids"), mask, input.batch));
  const auto model = as_reference(c.model, {.pad = {}, .fills_up = false}, noise);
  const DeletionOptions options = DeletionOptions::with_mode(DeletionMode::none);
  const bool strided =
      c.model.encoder.policies.front().policy.template target<merge::StridedPooling<Scalar>>() != nullptr;
  const models::EncoderOutput<Scalar> encoded = model.encoder.forward(source.input, options);
  const TokenBatch labels = labels_of(c.file, "labels");
  const Matrix<Scalar> logits =
      model.decode(models::shift_right(labels, model.config().start, model.config().pad), encoded);
  const SequenceOffsets& offsets = encoded.hidden.offsets;
  const Padded slots = Padded::of(c.file, prefix + "encoder_last_hidden_state");
  Index rows = 0;
  for (Index row = 0; row < input.batch; ++row) {
    const bool alike =
        strided ? source.batch.tokens.offsets.length(row) == input.length : offsets.length(row) == slots.length;
    if (!alike) continue;
    ++rows;
    const auto of_row = [&](const Padded& shape) {
      return [row, shape](const std::vector<double>& values) {
        return select_rows(values, shape, [row](Index b, Index) { return b == row; });
      };
    };
    compare(c, prefix, "encoder_last_hidden_state", to_numbers(Matrix<Scalar>(encoded.hidden.sequence(row))),
            of_row(slots));
    const auto select = of_row(Padded::of(c.file, prefix + "logits"));
    compare(c, prefix, "logits", select(to_numbers(logits)), select);
  }
  if (rows == 0) c.report.miss("ragged " + prefix, "no row to compare");
}

template <Real Scalar>
bool check_case(const std::filesystem::path& directory) {
  Case<Scalar> c(directory);
  for (const std::string prefix : {"out.", "noise."}) {
    if (!c.file.contains(prefix + "logits")) continue;
    check_padded(c, prefix);
    check_ragged(c, prefix);
  }
  return finish(c);
}

TEST_CASE("the golden case directories of poolings agree with the reference") {
  std::set<std::string> checked;
  for (const auto& directory : case_directories()) {
    if (!is_pooling(directory)) continue;
    INFO(directory);
    CHECK(check_case<float>(directory));
    CHECK(check_case<double>(directory));
    checked.insert(directory.filename());
  }
  CHECK(checked == std::set<std::string>{"bpt5", "canine"});
}

}  // namespace pooling_golden_test
}  // namespace merganser::testing
