#include <merganser/models/sequence_classifier.hpp>

#include <numeric>
#include <string>
#include <vector>

#include <merganser/core/parameter.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/training/objective.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"

namespace sequence_classifier_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using merge::DeletionMode;
using merge::DeletionOptions;
using merge::SurvivorBias;

template <Real Scalar>
using Config = Design<SequenceClassifier<Scalar>>;

template <Real Scalar>
Config<Scalar> config_of(const Vector<Index>& gates, Readout readout = Readout::mean,
                         const StackConfig& stack = tiny_stack()) {
  Config<Scalar> config;
  config.vocabulary = 11;
  config.encoder = stack;
  config.classes = 4;
  config.readout = readout;
  for (const Index block : gates) config.gates.push_back(gate_at(block));
  return config;
}

TokenBatch classes_for(Index sequences) {
  TokenBatch classes;
  for (Index i = 0; i < sequences; ++i) classes.push_back(Vector<TokenId>{static_cast<TokenId>((3 * i + 1) % 4)});
  return classes;
}

/// A classifier and five sequences, one of them empty, with one class each.
template <Real Scalar>
struct Setup : ModelSetup<SequenceClassifier<Scalar>> {
  explicit Setup(const Config<Scalar>& config, const DeletionOptions& options = {}, std::uint64_t seed = 1,
                 const Vector<Index>& lengths = {3, 1, 5, 0, 2})
      : ModelSetup<SequenceClassifier<Scalar>>(config, random_tokens(lengths, config.vocabulary, seed + 1),
                                               classes_for(lengths.size()), options, seed) {}
};

Vector<DeletionOptions> all_deletions() {
  Vector<DeletionOptions> all;
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything})
    all.push_back(deletion(mode));
  all.push_back(deletion(DeletionMode::hard, SurvivorBias::dropped));
  return all;
}

TEST_CASE("the gradients of a classifier's objective agree with finite differences", "[SequenceClassifier]") {
  const Threads one(1);
  StackConfig stack = tiny_stack();
  for (const Readout readout : {Readout::mean, Readout::first})
    for (const DeletionOptions& options : all_deletions()) {
      stack.dropout = readout == Readout::first ? 0.2 : 0.0;
      Setup<double> s(config_of<double>({0, 1}, readout, stack), options, 4);
      CAPTURE(static_cast<int>(readout), static_cast<int>(options.mode), static_cast<int>(options.survivor_bias));
      SequenceClassifier<double>::Cache cache;
      s.objective.score_limit = limit_between_scores([&](double limit) {
        s.objective.score_limit = limit;
        return s.trained(cache).score_excess;
      });
      REQUIRE(plan_margin(s.trained(cache).encoded, options) > 0.1);
      SequenceClassifier<double> gradients = zeros_like(s.model);
      s.backward(gradients);
      require_gradients([&] { return s.evaluate(cache).total; }, parameter_views(s.model), parameter_views(gradients));
    }
}

TEST_CASE("the mean weighs survivors by softmax of their key bias, first takes the first", "[SequenceClassifier]") {
  const auto survives = [](const auto& encoded, Index t) { return encoded.deleted.empty() || encoded.deleted[t] == 0; };
  for (const DeletionOptions& options : all_deletions()) {
    const Setup<double> mean(config_of<double>({1}), options), first(config_of<double>({1}, Readout::first), options);
    const auto output = mean.inferred();
    const RaggedBatch<double>& hidden = output.encoded.hidden;
    Matrix<double> of_mean = Matrix<double>::Zero(5, 6), of_first = of_mean;
    for (Index i = 0; i < 5; ++i) {
      double total = 0;
      for (Index t = hidden.offsets.begin(i); t < hidden.offsets.end(i); ++t) {
        if (!survives(output.encoded, t)) continue;
        if (total == 0) of_first.row(i) = hidden.values.row(t);
        const double weight = output.encoded.key_bias.empty() ? 1.0 : std::exp(output.encoded.key_bias[t]);
        of_mean.row(i) += weight * hidden.values.row(t);
        total += weight;
      }
      if (total > 0) of_mean.row(i) /= total;
    }
    REQUIRE(relative_difference(output.logits, mean.model.head.forward(of_mean)) <= agreement<double>);
    REQUIRE(relative_difference(first.inferred().logits, first.model.head.forward(of_first)) <= agreement<double>);
    REQUIRE(output.logits.row(3).isZero(0));  // no tokens
  }
}

TEMPLATE_TEST_CASE("a classifier keeps the laws", "[SequenceClassifier]", float, double) {
  for (const DeletionOptions& options : all_deletions()) {
    const Setup<TestType> s(config_of<TestType>({0, 1}), options), same = s;
    typename SequenceClassifier<TestType>::Cache cache;
    require_forward_agrees([&] { return s.inferred().logits; }, [&] { return s.trained(cache).logits; });
    require_backward_adds(s.model, [&](SequenceClassifier<TestType>& gradients) { s.backward(gradients); });
    REQUIRE(numbers_of(s.model) == numbers_of(same.model));

    const Setup<TestType> large(config_of<TestType>({0, 1}, Readout::mean, small_stack()), options, 1, {70, 1, 0, 33});
    const auto together = large.inferred();
    for (Index i = 0; i < 4; ++i) {
      Setup<TestType> single = large;
      single.source = alone(large.source, i);
      single.target = alone(large.target, i);
      REQUIRE(identical(single.inferred().logits, Matrix<TestType>(together.logits.row(i))));
    }
    require_same_bits_with_threads([&] { return large.inferred().logits; });
    const auto gradients = [&](int threads) {
      const Threads chosen(threads);
      SequenceClassifier<TestType> result = zeros_like(large.model);
      large.backward(result);
      return numbers_of(result);
    };
    REQUIRE(gradients(1) == gradients(2));
  }
}

TEST_CASE("a classifier in float follows the one in double", "[SequenceClassifier]") {
  for (const DeletionOptions& options : all_deletions()) {
    const Setup<float> single(config_of<float>({1}), options);
    const Setup<double> twice(config_of<double>({1}), options);
    require_float_follows_double([&] { return single.inferred().logits; }, [&] { return twice.inferred().logits; });
  }
}

TEST_CASE("a softly deleted token weighs next to nothing in the mean", "[SequenceClassifier]") {
  auto config = config_of<double>({0});
  config.gates[0].norm = merge::GateNorm::none;
  Setup<double> s(config, deletion(DeletionMode::soft));
  // Even ids get logit 2, odd ones -60: values -3.6 and -30.
  auto& gate = gate_in(s.model.encoder);
  gate.weight.setZero();
  gate.weight(0, 0) = 31;
  gate.bias(0) = -29;
  for (Index id = 0; id < 11; ++id) s.model.embedding.weight(id, 0) = id % 2 == 0 ? 1 : -1;
  s.source.ids = {2, 3, 4, /**/ 6, /**/ 5, 8, 9, 2, 3, /**/ 10, 7};
  const Matrix<double> soft = s.inferred().logits;
  s.deletion.mode = DeletionMode::hard;
  const auto hard = s.inferred();
  REQUIRE(hard.encoded.origin == Vector<Index>{0, 2, 3, 5, 7, 9});
  REQUIRE(relative_difference(soft, hard.logits) < 1e-9);
  s.deletion.mode = DeletionMode::none;
  REQUIRE(relative_difference(soft, s.inferred().logits) > 1e-3);
}

TEST_CASE("soft deletion gives the logits of hard deletion, by either readout", "[SequenceClassifier]") {
  const Readout readout = GENERATE(Readout::mean, Readout::first);
  Index deleted = 0, first_deleted = 0;
  for (const Vector<Index>& gates : {Vector<Index>{0}, Vector<Index>{1}, Vector<Index>{0, 1}})
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      auto config = config_of<double>(gates, readout);
      for (io::GateConfig& gate : config.gates) gate.scale = -1000;  // sure of what it deletes
      Setup<double> s(config, deletion(DeletionMode::soft), seed, {9, 1, 4, 0, 6});
      s.source = with_pads(s.source, s.model.config().pad, seed);
      const auto soft = s.inferred();
      s.deletion.mode = DeletionMode::hard;
      const auto hard = s.inferred();
      CAPTURE(gates.size(), seed);
      REQUIRE(soft.encoded.deletion.kept == hard.encoded.deletion.kept);
      REQUIRE(relative_difference(soft.logits, hard.logits) < 1e-9);
      deleted += hard.encoded.deletion.deleted();
      for (Index i = 0; i < s.source.count(); ++i)
        if (hard.encoded.hidden.offsets.length(i) > 0 &&
            hard.encoded.origin[hard.encoded.hidden.offsets.begin(i)] != s.source.offsets.begin(i))
          ++first_deleted;
    }
  REQUIRE(deleted > 100);
  REQUIRE(first_deleted > 100);  // so that both readouts had a first row to pass over
}

TEST_CASE("a padded batch gives a classifier's logits of a ragged one, in every mode", "[SequenceClassifier]") {
  for (const Readout readout : {Readout::mean, Readout::first})
    for (const DeletionOptions& options : all_deletions())
      for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        Setup<double> s(config_of<double>({1}, readout), options, seed);
        const Matrix<double> expected = s.inferred().logits;
        s.source = with_pads(s.source, s.model.config().pad, seed);
        REQUIRE(relative_difference(s.inferred().logits, expected) <= 1e-12);
      }
}

TEST_CASE("when everything is deleted a classifier answers with zeros", "[SequenceClassifier]") {
  const Setup<double> s(config_of<double>({1}), deletion(DeletionMode::everything));
  REQUIRE(s.inferred().logits.isZero(0));
  REQUIRE(s.inferred().encoded.deletion.deletion_rate() == 1.0);
}

TEST_CASE("pads are forced through the gates of a classifier", "[SequenceClassifier]") {
  Setup<double> s(config_of<double>({0}));
  gate_in(s.model.encoder).bias(0) = 50;
  const Matrix<double> expected = s.inferred().logits;
  TokenBatch padded;
  for (Index i = 0; i < 5; ++i) {
    Vector<TokenId> ids(s.source.sequence(i).begin(), s.source.sequence(i).end());
    if (!ids.empty()) ids.resize(6, 0);
    padded.push_back(ids);
  }
  s.source = padded;
  REQUIRE(relative_difference(s.inferred().logits, expected) <= agreement<double>);
}

TEST_CASE("a classifier names its tensors, starts from its seed and takes empty batches", "[SequenceClassifier]") {
  SequenceClassifier<double> model = config_of<double>({1}).make(), same = config_of<double>({1}).make();
  Rng rng(3), other(3);
  model.initialize(rng);
  same.initialize(other);
  REQUIRE(numbers_of(model) == numbers_of(same));
  REQUIRE(all_finite(model));
  const auto views = parameter_views(model);
  REQUIRE(views.front().name == "shared.weight");
  REQUIRE(views.back().name == "classification_head.weight");
  REQUIRE(views.back().rows == 4);
  REQUIRE(views.back().cols == 6);

  for (const DeletionOptions& options : all_deletions()) {
    const Setup<double> empty(config_of<double>({1}), options, 1, {});
    SequenceClassifier<double> gradients = zeros_like(empty.model);
    REQUIRE(empty.backward(gradients) == 0.0);
    REQUIRE(empty.inferred().logits.rows() == 0);
  }
}

TEMPLATE_TEST_CASE("a classifier prepared for inference gives the same bits", "[SequenceClassifier]", float, double) {
  Setup<TestType> s(config_of<TestType>({1}, Readout::mean, small_stack()), {}, 1, {30, 1, 0, 17});
  const Matrix<TestType> before = s.model.forward(s.source).logits;
  s.model.prepare_for_inference();
  REQUIRE(identical(s.model.forward(s.source).logits, before));
  REQUIRE_THROWS_AS(s.model.visit([](const std::string&, auto&) {}, ""), std::invalid_argument);
}

TEST_CASE("a classifier takes over the encoder of a model that writes", "[SequenceClassifier]") {
  Design<EncoderDecoder<float>> whole;
  whole.vocabulary = 11;
  whole.encoder = tiny_stack();
  whole.gates.push_back(gate_at(1));
  EncoderDecoder<float> writer = whole.make();
  Rng rng(3);
  writer.initialize(rng);

  SequenceClassifier<float> classifier = config_of<float>({1}).make();
  classifier.initialize(rng);
  const auto head = classifier.head.weight.matrix();
  CHECK(copy_parameters(writer.shared, classifier.embedding).empty());
  CHECK(copy_parameters(writer.encoder, classifier.encoder).empty());

  const TokenBatch ids = random_tokens({3, 0, 5}, 11, 7);
  SequenceClassifier<float>::ForwardOptions reading;
  EncoderDecoder<float>::ForwardOptions writing;
  reading.deletion = writing.deletion = deletion(DeletionMode::soft);
  CHECK(identical(classifier.forward(ids, reading).encoded.hidden.values, writer.encode(ids, writing).hidden.values));
  CHECK(identical(classifier.head.weight.matrix(), head));
}

}  // namespace sequence_classifier_test
