#include <merganser/models/encoder_decoder.hpp>

#include <concepts>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/training/objective.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"

namespace encoder_decoder_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using merge::DeletionMode;
using merge::DeletionOptions;
using merge::SurvivorBias;

template <Real Scalar>
using Config = Design<EncoderDecoder<Scalar>>;

template <Real Scalar>
Config<Scalar> config_of(const Vector<Index>& gates, const StackConfig& stack = tiny_stack()) {
  Config<Scalar> config;
  config.vocabulary = 11;
  config.encoder = stack;
  for (const Index block : gates) config.gates.push_back(gate_at(block));
  return config;
}

/// A model and four examples, one of them without source tokens.
template <Real Scalar>
struct Setup : ModelSetup<EncoderDecoder<Scalar>> {
  explicit Setup(const Config<Scalar>& config, const DeletionOptions& options = {}, std::uint64_t seed = 1,
                 const Vector<Index>& lengths = {3, 1, 5, 0}, const Vector<Index>& target_lengths = {2, 4, 1, 3})
      : ModelSetup<EncoderDecoder<Scalar>>(config, random_tokens(lengths, config.vocabulary, seed + 1),
                                           random_tokens(target_lengths, config.vocabulary, seed + 2), options, seed) {
    if (this->target.total() > 3) this->target.ids[3] = ignored_label;
  }
};

void check_model(Setup<double>& s) {
  const Threads one(1);
  EncoderDecoder<double>::Cache cache;
  s.objective.score_limit = limit_between_scores([&](double limit) {
    s.objective.score_limit = limit;
    return s.trained(cache).score_excess;
  });
  const auto output = s.trained(cache);
  REQUIRE(plan_margin(output.encoded, s.deletion) > 0.1);
  REQUIRE(kink_margin(cache.encoder.blocks, s.model.config().encoder.activation) > 0.005);
  REQUIRE(kink_margin(cache.decoder.blocks, s.model.config().encoder.activation) > 0.005);
  if (s.deletion.mode == DeletionMode::hard) REQUIRE(output.encoded.deletion.deletion_rate() > 0);
  EncoderDecoder<double> gradients = zeros_like(s.model);
  s.backward(gradients);
  require_gradients([&] { return s.evaluate(cache).total; }, parameter_views(s.model), parameter_views(gradients));
}

Vector<DeletionOptions> all_deletions() {
  Vector<DeletionOptions> all;
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything})
    all.push_back(deletion(mode));
  all.push_back(deletion(DeletionMode::hard, SurvivorBias::dropped));
  all.emplace_back().target_rate = 0.5;
  all.emplace_back().threshold = -3.0;
  return all;
}

TEST_CASE("the gradients of the whole objective agree with finite differences", "[EncoderDecoder]") {
  StackConfig stack = tiny_stack();
  SECTION("no deletion, untied, one decoder block") {
    Setup<double> s(config_of<double>({1}), deletion(DeletionMode::none));
    check_model(s);
  }
  SECTION("soft, two gates, tied, soft cap, absolute positions") {
    stack.positions = PositionScheme::absolute;
    stack.score_bound = nn::ScoreBound::soft_cap(5);
    auto config = config_of<double>({0, 1}, stack);
    config.head = Head::tied;
    Setup<double> s(config, deletion(DeletionMode::soft));
    check_model(s);
  }
  SECTION("hard, survivors keep their bias, variance, three decoder blocks for one encoder block, ReLU") {
    stack.activation = nn::Activation::relu;
    stack.blocks = 1;
    auto config = config_of<double>({0}, stack);
    config.decoder_blocks = 3;
    Setup<double> s(config, deletion(DeletionMode::hard), 3);
    set_regulariser(s.model.encoder, merge::GateRegulariser::variance);
    check_model(s);
  }
  SECTION("hard, survivors drop their bias, clamped logits, normalised scores, dropout") {
    stack.score_bound = nn::ScoreBound::normalised(4);
    stack.dropout = 0.2;
    auto config = config_of<double>({1}, stack);
    config.head = Head::tied;
    Setup<double> s(config, deletion(DeletionMode::hard, SurvivorBias::dropped));
    set_regulariser(s.model.encoder, merge::GateRegulariser::clamped_logits);
    check_model(s);
  }
  SECTION("hard, two gates, the logits, Gumbel noise") {
    auto config = config_of<double>({0, 1});
    for (io::GateConfig& gate : config.gates) gate.noise = merge::GateNoise::gumbel;
    Setup<double> s(config, deletion(DeletionMode::hard), 2);
    set_regulariser(s.model.encoder, merge::GateRegulariser::logits);
    check_model(s);
  }
  SECTION("soft, pads in the source, a random gate behind a learned one") {
    auto config = config_of<double>({0, 1});
    config.gates[1].kind = io::GateKind::random;
    Setup<double> s(config, deletion(DeletionMode::soft));
    s.source.ids[2] = s.source.ids[8] = config.pad;
    check_model(s);
  }
  SECTION("soft, a tied head on unscaled outputs, absolute positions") {
    stack.positions = PositionScheme::absolute;
    stack.score_bound = nn::ScoreBound::soft_cap(5);
    auto config = config_of<double>({0, 1}, stack);
    config.head = Head::tied;
    config.head_input = HeadInput::unscaled;
    Setup<double> s(config, deletion(DeletionMode::soft));
    check_model(s);
  }
  SECTION("soft, a head of its own on scaled outputs, absolute positions") {
    stack.positions = PositionScheme::absolute;
    stack.score_bound = nn::ScoreBound::soft_cap(5);
    auto config = config_of<double>({0, 1}, stack);
    config.head_input = HeadInput::scaled;
    Setup<double> s(config, deletion(DeletionMode::soft));
    check_model(s);
  }
  SECTION("everything deleted, with the score penalty on encoder blocks whose output nobody reads") {
    Setup<double> s(config_of<double>({0}), deletion(DeletionMode::everything));
    check_model(s);
  }
}

TEMPLATE_TEST_CASE("training and inference agree, and training leaves the model alone", "[EncoderDecoder]", float,
                   double) {
  for (const Head head : {Head::untied, Head::tied})
    for (const DeletionOptions& options : all_deletions()) {
      auto config = config_of<TestType>({0, 1});
      config.head = head;
      const Setup<TestType> s(config, options), same(config, options);
      typename EncoderDecoder<TestType>::Cache cache;
      require_forward_agrees([&] { return s.inferred().logits; }, [&] { return s.trained(cache).logits; });
      require_backward_adds(s.model, [&](EncoderDecoder<TestType>& gradients) { s.backward(gradients); });
      REQUIRE(numbers_of(s.model) == numbers_of(same.model));
    }
}

TEST_CASE("a model in float follows the one in double", "[EncoderDecoder]") {
  for (const DeletionOptions& options : all_deletions()) {
    const Setup<float> single(config_of<float>({1}), options);
    const Setup<double> twice(config_of<double>({1}), options);
    require_float_follows_double([&] { return single.inferred().logits; }, [&] { return twice.inferred().logits; });
  }
}

TEMPLATE_TEST_CASE("logits of a sequence alone are the bits of those in a batch", "[EncoderDecoder]", float, double) {
  for (const DeletionOptions& options : all_deletions()) {
    const Setup<TestType> s(config_of<TestType>({0, 1}, small_stack()), options, 1, {70, 1, 0, 33}, {5, 2, 66, 1});
    const auto together = s.inferred();
    for (Index i = 0; i < s.source.count(); ++i) {
      Setup<TestType> single = s;
      single.source = alone(s.source, i);
      single.target = alone(s.target, i);
      const auto own = single.inferred();
      REQUIRE(identical(own.logits, rows_of(together.logits, s.target.offsets, i)));
      REQUIRE(own.encoded.hidden.total() == together.encoded.hidden.offsets.length(i));
    }
  }
}

TEMPLATE_TEST_CASE("the gradients of a batch are the mean of those of its sequences", "[EncoderDecoder]", float,
                   double) {
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
    // Means over labels and over gate values agree when every sequence has as many of each.
    Setup<TestType> s(config_of<TestType>({1}), deletion(mode), 1, {4, 4, 4}, {3, 3, 3});
    s.target.ids[3] = 5;
    s.objective.score_penalty = 0;
    EncoderDecoder<TestType> together = zeros_like(s.model), sum = zeros_like(s.model);
    const double total = s.backward(together);
    double mean = 0;
    for (Index i = 0; i < 3; ++i) {
      Setup<TestType> single = s;
      single.source = alone(s.source, i);
      single.target = alone(s.target, i);
      mean += single.backward(sum) / 3;
    }
    sum.visit([](const std::string&, auto& tensor) { tensor /= TestType{3}; }, "");
    REQUIRE_THAT(mean, Catch::Matchers::WithinRel(total, agreement<TestType>));
    REQUIRE(largest_difference(together, sum) <= agreement<TestType>);
  }
}

TEMPLATE_TEST_CASE("one and two threads give the same bits in a model", "[EncoderDecoder]", float, double) {
  for (const DeletionOptions& options : all_deletions()) {
    const Setup<TestType> s(config_of<TestType>({0, 1}, small_stack()), options, 1, {70, 1, 0, 33}, {5, 2, 66, 1});
    require_same_bits_with_threads([&] { return s.inferred().logits; });
    const auto gradients = [&](int threads) {
      const Threads chosen(threads);
      EncoderDecoder<TestType> result = zeros_like(s.model);
      s.backward(result);
      return numbers_of(result);
    };
    REQUIRE(gradients(1) == gradients(2));
  }
}

TEST_CASE("when everything is deleted the source does not matter", "[EncoderDecoder]") {
  Setup<double> s(config_of<double>({1}), deletion(DeletionMode::everything));
  const Matrix<double> before = s.inferred().logits;
  Setup<double> other = s;
  other.source = random_tokens({2, 6, 0, 1}, 11, 77);
  REQUIRE(identical(other.inferred().logits, before));
  s.deletion.mode = other.deletion.mode = DeletionMode::none;
  REQUIRE(relative_difference(other.inferred().logits, s.inferred().logits) > 1e-3);
}

TEST_CASE("what gates said and did is always returned", "[EncoderDecoder]") {
  for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard}) {
    const Setup<double> s(config_of<double>({0, 1}), deletion(mode));
    EncoderDecoder<double>::Cache cache;
    for (const auto& output : {s.inferred(), s.trained(cache)}) {
      REQUIRE(output.encoded.reports.size() == 2);
      REQUIRE(output.encoded.reports[0].scores.size() == 9);
      REQUIRE(output.encoded.reports[0].logits.size() == 9);
      REQUIRE(output.encoded.deletion.tokens == Vector<Index>{3, 1, 5, 0});
      REQUIRE(output.encoded.origin.size() == output.encoded.hidden.total());
    }
  }
}

TEST_CASE("pads in the source are forced through the gates, and hidden where the caller says", "[EncoderDecoder]") {
  Setup<double> s(config_of<double>({0}));
  gate_in(s.model.encoder).bias(0) = 50;  // keep all others
  Setup<double> padded = s;
  padded.source = {};
  for (Index i = 0; i < 4; ++i) {
    Vector<TokenId> ids(s.source.sequence(i).begin(), s.source.sequence(i).end());
    ids.resize(6, s.model.config().pad);
    padded.source.push_back(ids);
  }
  const auto expected = s.inferred(), output = padded.inferred();
  REQUIRE(output.encoded.deletion.tokens == expected.encoded.deletion.tokens);
  REQUIRE(output.encoded.deletion.kept == expected.encoded.deletion.kept);
  // Sequence 3 is all pads, which is as good as empty.
  REQUIRE(output.encoded.hidden.offsets == SequenceOffsets::from_lengths(Vector<Index>{3, 1, 5, 0}));
  REQUIRE(relative_difference(output.logits, expected.logits) <= agreement<double>);

  // Without gates an attention mask does the same.
  s.deletion.mode = padded.deletion.mode = DeletionMode::none;
  auto options = padded.options();
  const Vector<std::uint8_t> hidden = mark_ids(padded.source.ids, s.model.config().pad);
  options.hidden = hidden;
  const Matrix<double> masked = padded.model.forward_targets(padded.source, padded.target, options).logits;
  REQUIRE(relative_difference(Matrix<double>(masked.topRows(7)), Matrix<double>(s.inferred().logits.topRows(7))) <=
          agreement<double>);
}

TEST_CASE("a padded batch gives the logits of a ragged one, in every mode", "[EncoderDecoder]") {
  for (const Vector<Index>& gates : {Vector<Index>{0}, Vector<Index>{1}, Vector<Index>{0, 1}, Vector<Index>{}})
    for (const DeletionOptions& options : all_deletions())
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        Setup<double> s(config_of<double>(gates), options, seed, {10, 1, 5, 0});
        Setup<double> padded = s;
        padded.source = with_pads(s.source, s.model.config().pad, seed);
        CAPTURE(gates.size(), static_cast<int>(options.mode), seed);
        const auto expected = s.inferred(), output = padded.inferred();
        REQUIRE(output.encoded.deletion.tokens == expected.encoded.deletion.tokens);
        REQUIRE(output.encoded.deletion.kept == expected.encoded.deletion.kept);
        REQUIRE(relative_difference(output.logits, expected.logits) <= 1e-12);
        const auto alive = [&](const TokenBatch& source, const auto& encoded) {  // ids whose rows are still read
          Vector<TokenId> ids;
          for (Index row = 0; row < encoded.origin.size(); ++row)
            if (encoded.hidden_keys.empty() || encoded.hidden_keys[row] == 0)
              ids.push_back(source.ids[encoded.origin[row]]);
          return ids;
        };
        REQUIRE(alive(padded.source, output.encoded) == alive(s.source, expected.encoded));
      }
}

TEST_CASE("the score excess is measured only while training and only when asked for", "[EncoderDecoder]") {
  Setup<double> s(config_of<double>({1}));
  EncoderDecoder<double>::Cache cache;
  REQUIRE(s.trained(cache).score_excess > 0);
  REQUIRE(s.inferred().score_excess == 0);
  s.objective.score_penalty = 0;
  REQUIRE(s.trained(cache).score_excess == 0);
}

TEST_CASE("labels shift right behind the start id, and ignored ones become pads", "[EncoderDecoder]") {
  TokenBatch labels;
  for (const Vector<TokenId>& sequence : {Vector<TokenId>{5, -100, 7}, {}, {1}, {-100, -100}})
    labels.push_back(sequence);
  const TokenBatch shifted = shift_right(labels, 3, 0);
  REQUIRE(shifted.offsets == labels.offsets);
  REQUIRE(shifted.ids == Vector<TokenId>{3, 5, 0, /**/ 3, /**/ 3, 0});
  REQUIRE(shift_right({}, 3, 0).count() == 0);
  REQUIRE(shift_right(labels, 3, no_pad).ids == Vector<TokenId>{3, 5, 3, /**/ 3, /**/ 3, 3});
}

TEST_CASE("a model without a pad reads and learns everything", "[EncoderDecoder]") {
  auto config = config_of<double>({1});
  config.pad = no_pad;
  Setup<double> s(config, deletion(DeletionMode::soft));
  s.source.ids[2] = 0;  // an id like any other
  EncoderDecoder<double>::Cache cache;
  REQUIRE(s.trained(cache).logits.allFinite());
  REQUIRE(cache.forced.empty());
}

TEST_CASE("the head reads what it is told to, trained, inferred and prepared", "[EncoderDecoder]") {
  for (const Head head : {Head::untied, Head::tied}) {
    auto config = config_of<float>({});
    config.head = head;
    const auto logits = [&](HeadInput input, bool prepared) {
      config.head_input = input;
      Setup<float> s(config);
      if (prepared) s.model.prepare_for_inference();
      return Matrix<float>(s.inferred().logits);
    };
    const Matrix<float> plain = logits(HeadInput::unscaled, false), scaled = logits(HeadInput::scaled, false);
    const float factor = 1 / std::sqrt(static_cast<float>(config.encoder.width));
    REQUIRE(relative_difference(Matrix<float>(plain * factor), scaled) < 1e-5);
    REQUIRE(identical(logits(HeadInput::by_head, false), head == Head::tied ? scaled : plain));
    for (const HeadInput input : {HeadInput::unscaled, HeadInput::scaled})
      REQUIRE(identical(logits(input, true), logits(input, false)));
  }
}

TEST_CASE("a tied model has no head of its own, and its decoder may have another depth", "[EncoderDecoder]") {
  auto config = config_of<float>({1});
  config.decoder_blocks = 3;
  const auto names = [](const Config<float>& c) {
    EncoderDecoder<float> model = c.make();
    Vector<std::string> result;
    for (const auto& view : parameter_views(model)) result.push_back(view.name);
    return result;
  };
  const auto untied = names(config);
  REQUIRE(untied.front() == "shared.weight");
  REQUIRE(untied.back() == "lm_head.weight");
  REQUIRE(std::count(untied.begin(), untied.end(), "decoder.block.2.layer.1.EncDecAttention.q.weight") == 1);
  REQUIRE(std::count(untied.begin(), untied.end(), "encoder.block.2.layer.0.SelfAttention.q.weight") == 0);
  config.head = Head::tied;
  const auto tied = names(config);
  REQUIRE(tied.size() + 1 == untied.size());
  REQUIRE(tied.back() == "decoder.final_layer_norm.weight");

  EncoderDecoder<double> model = config_of<double>({}).make();
  fill_model(model, 1);
  auto tied_config = config_of<double>({});
  tied_config.head = Head::tied;
  EncoderDecoder<double> same = tied_config.make();
  same.shared = model.shared;
  Rng rng(2);
  const Matrix<double> hidden = random_matrix<double>(3, 6, rng);
  REQUIRE(relative_difference(same.head(hidden), Matrix<double>(hidden * model.shared.weight.transpose() /
                                                                std::sqrt(6.0))) <= agreement<double>);
}

TEST_CASE(
    "a model starts with the deviations of T5, a smaller one of the embedding, and an open gate, from its seed alone",
    "[EncoderDecoder]") {
  auto config = config_of<double>({1}, small_stack());
  config.vocabulary = 300;
  EncoderDecoder<double> model = config.make(), same = config.make();
  Rng rng(3), other(3);
  model.initialize(rng);
  same.initialize(other);
  REQUIRE(numbers_of(model) == numbers_of(same));
  const double width = 20, head_width = 8, heads = 3, inner = 37;
  const auto require_deviation = [](const Matrix<double>& tensor, double expected) {
    REQUIRE_THAT(measured_deviation(tensor), Catch::Matchers::WithinRel(expected, 0.15));
  };
  require_deviation(model.shared.weight, 0.3);
  require_deviation(model.lm_head.weight.matrix(), 1 / std::sqrt(width));
  const auto& block = model.decoder.blocks[0];
  require_deviation(block.cross_attention.q.weight.matrix(), 1 / std::sqrt(width * head_width));
  require_deviation(block.cross_attention.k.weight.matrix(), 1 / std::sqrt(width));
  require_deviation(block.cross_attention.o.weight.matrix(), 1 / std::sqrt(heads * head_width));
  require_deviation(block.feed_forward.wi.weight.matrix(), 1 / std::sqrt(width));
  require_deviation(block.feed_forward.wo.weight.matrix(), 1 / std::sqrt(inner));
  REQUIRE(block.cross_norm.scale == RowVector<double>::Ones(20));
  REQUIRE(gate_in(model.encoder).bias(0) == 3.0);
  const TokenBatch source = random_tokens({40, 30}, 300, 4);
  REQUIRE(model.encode(source).deletion.deletion_rate() < 0.2);
}

TEST_CASE("empty batches and targets pass through a model", "[EncoderDecoder]") {
  for (const DeletionOptions& options : all_deletions())
    for (const Vector<Index>& lengths : {Vector<Index>{}, Vector<Index>{0, 0}}) {
      const Setup<double> s(config_of<double>({0, 1}), options, 1, lengths, lengths);
      EncoderDecoder<double> gradients = zeros_like(s.model);
      REQUIRE(s.backward(gradients) == 0.0);
      REQUIRE(largest_difference(gradients, zeros_like(s.model)) == 0.0);
      REQUIRE(s.inferred().logits.rows() == 0);
      REQUIRE(s.inferred().logits.cols() == 11);
    }
}

TEST_CASE("a model says which id does not fit", "[EncoderDecoder]") {
  Setup<float> s(config_of<float>({1}));
  s.source.ids[4] = 11;
  REQUIRE(argument_error([&] { s.inferred(); }) == "Embedding::forward: ids[4]: got 11, expected an id in [0, 11)");
  s.source.ids[4] = -1;
  REQUIRE(argument_error([&] { s.inferred(); }) == "Embedding::forward: ids[4]: got -1, expected an id in [0, 11)");
  s = Setup<float>(config_of<float>({1}));
  s.target = random_tokens({2, 2}, 11, 1);
  REQUIRE(argument_error([&] { s.inferred(); }) == "Decoder::forward: memory.count(): got 4, expected 2");
}

TEMPLATE_TEST_CASE("a model prepared for inference gives the same bits and is no longer trained", "[EncoderDecoder]",
                   float, double) {
  for (const Head head : {Head::untied, Head::tied}) {
    Config<TestType> config = config_of<TestType>({1}, small_stack());
    config.head = head;
    Setup<TestType> s(config, {}, 3, {30, 1, 17, 0});
    const TokenBatch input = random_tokens({2, 4, 1, 3}, config.vocabulary, 8);
    const auto before = s.model.forward(s.source, input);
    EncoderDecoder<TestType> prepared = s.model;
    prepared.prepare_for_inference();
    const auto after = prepared.forward(s.source, input);
    REQUIRE(identical(after.logits, before.logits));
    REQUIRE(after.encoded.origin == before.encoded.origin);
    REQUIRE_THROWS_AS(prepared.visit([](const std::string&, auto&) {}, ""), std::invalid_argument);
    if constexpr (std::same_as<TestType, float>) {
      typename EncoderDecoder<TestType>::ForwardOptions all;
      all.deletion = DeletionOptions::with_mode(DeletionMode::none);
      s.model.prepare_for_inference(kernels::Precision::bfloat16);
      const auto half = s.model.forward(s.source, input, all), full = prepared.forward(s.source, input, all);
      REQUIRE_FALSE(identical(half.logits, full.logits));
      REQUIRE((half.logits - full.logits).norm() <= full.logits.norm() / 20);
    } else {
      REQUIRE_THROWS_AS(s.model.prepare_for_inference(kernels::Precision::bfloat16), std::invalid_argument);
    }
  }
}

}  // namespace encoder_decoder_test
