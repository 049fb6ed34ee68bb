#include <merganser/models/warm_start.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "models/small_planners.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"

namespace warm_start_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;

using Model = EncoderDecoder<double>;
using Classifier = SequenceClassifier<double>;

Model model_of(Vector<Index> gates, std::uint64_t seed, std::optional<io::PoolingKind> pooling = {}) {
  Design<Model> config;
  config.vocabulary = 20;
  config.encoder = tiny_stack();
  config.encoder.blocks = 3;
  config.decoder_blocks = 1;
  for (const Index block : gates) config.gates.push_back(gate_at(block));
  if (pooling) config.pooling = io::PoolingConfig{.block = 1, .kind = *pooling};
  Model model = config.make();
  fill_model(model, seed);
  return model;
}

Classifier classifier_of(Vector<Index> gates, std::uint64_t seed) {
  Design<Classifier> config;
  config.vocabulary = 20;
  config.encoder = tiny_stack();
  config.encoder.blocks = 3;
  for (const Index block : gates) config.gates.push_back(gate_at(block));
  Classifier model = config.make();
  fill_model(model, seed);
  return model;
}

/// Whether the parameter of this name is the same in both; it must be in `now`.
template <class Now, class Other>
bool same(Now& now, Other& other, const std::string& name) {
  for (const auto& view : parameter_views(now))
    if (view.name == name)
      for (const auto& theirs : parameter_views(other))
        if (theirs.name == name) return std::equal(view.data, view.data + view.size(), theirs.data);
  return false;
}

template <class Layer>
Vector<std::string> names_of(Layer& layer) {
  Vector<std::string> names;
  for (const auto& view : parameter_views(layer)) names.push_back(view.name);
  return names;
}

bool of_a_gate(const std::string& name) { return name.find("delete_gate") != std::string::npos; }

TEST_CASE("a model starts with all weights of one like it", "[warm_start]") {
  Model model = model_of({1}, 1), trained = model_of({1}, 2);
  warm_start(model, trained);
  for (const std::string& name : names_of(model)) {
    CAPTURE(name);
    REQUIRE(same(model, trained, name));
  }
}

TEST_CASE("a gate that the trained model lacks begins anew", "[warm_start]") {
  const auto from = GENERATE(Vector<Index>{}, Vector<Index>{0}, Vector<Index>{0, 2});
  Model model = model_of({1}, 1), trained = model_of(from, 2);
  Model before = model;
  warm_start(model, trained);
  bool gate = false;
  for (const std::string& name : names_of(model)) {
    CAPTURE(name);
    gate = gate || of_a_gate(name);
    REQUIRE(same(model, of_a_gate(name) ? before : trained, name));
  }
  REQUIRE(gate);
}

TEST_CASE("of two gates the one in its place is taken", "[warm_start]") {
  Model model = model_of({1, 2}, 1), trained = model_of({0, 1}, 2), before = model;
  warm_start(model, trained);
  for (const std::string& name : names_of(model)) {
    CAPTURE(name);
    REQUIRE(same(model, name.find("block.2.delete_gate") != std::string::npos ? before : trained, name));
  }
}

TEST_CASE("the twin of a gated model leaves the gate out, and a pooling takes its place", "[warm_start]") {
  Model trained = model_of({1}, 2), twin = model_of({}, 1);
  warm_start(twin, trained);
  for (const std::string& name : names_of(twin)) REQUIRE(same(twin, trained, name));

  Model pooled = model_of({}, 1, io::PoolingKind::strided), other = model_of({}, 3, io::PoolingKind::boundaries);
  Model before = pooled;
  warm_start(pooled, other);
  bool kept = false;
  for (const std::string& name : names_of(pooled)) {
    CAPTURE(name);
    const bool own = name.find("downsampling_module") != std::string::npos || name.ends_with(".down_ln.weight");
    kept = kept || own;
    REQUIRE(same(pooled, own ? before : other, name));
  }
  REQUIRE(kept);
}

TEST_CASE("a gate is taken over past policies that have no tensors", "[warm_start]") {
  const Model trained = model_of({1}, 2);
  Model model = model_of({1}, 1);
  const merge::Placement<double> gate = model.encoder.policies[0];
  const auto learned = [](Model& of, Index p) { return gate_in(of.encoder, p).weight; };
  Model with = trained;
  SECTION("of the model") {
    model.encoder.policies = {merge::before_block(1, DropThirds{}), gate, merge::after_attention(1, PairMerge{})};
    warm_start(model, trained);
    REQUIRE(model.encoder.policies.size() == 3);
    REQUIRE(identical(learned(model, 1), learned(with, 0)));
  }
  SECTION("of the trained one") {
    with.encoder.policies = {merge::before_block(1, DropThirds{}), with.encoder.policies[0]};
    warm_start(model, with);
    REQUIRE(model.encoder.policies.size() == 1);
    REQUIRE(identical(learned(model, 0), learned(with, 1)));
  }
}

TEST_CASE("a classifier starts with the reader of a model, and a model with that of a classifier", "[warm_start]") {
  Classifier classifier = classifier_of({1}, 1), before = classifier;
  Model trained = model_of({1}, 2);
  warm_start(classifier, trained);
  REQUIRE(identical(classifier.embedding.weight, trained.shared.weight));
  for (const std::string& name : names_of(trained.encoder)) REQUIRE(same(classifier.encoder, trained.encoder, name));
  REQUIRE(identical(classifier.head.weight.matrix(), before.head.weight.matrix()));

  Model model = model_of({}, 4), unchanged = model;
  warm_start(model, classifier);
  for (const std::string& name : names_of(model)) {
    CAPTURE(name);
    const bool read = name.starts_with("shared.") || name.starts_with("encoder.");
    REQUIRE(same(model, read ? trained : unchanged, name));
  }
}

TEST_CASE("a model of another size is refused", "[warm_start]") {
  Model model = model_of({}, 1);
  Model::Config config = model_of({}, 1).config();
  config.encoder.feed_forward_width += 1;
  Model other(config);
  REQUIRE(argument_error([&] { warm_start(model, other); }).find("DenseReluDense") != std::string::npos);
  config = model.config();
  config.encoder.blocks = 2;
  Model shorter(config);
  REQUIRE(argument_error([&] { warm_start(model, shorter); }) ==
          "warm_start: encoder.block.2.layer.0.SelfAttention.q.weight: got no such tensor to start from, expected all "
          "but those of policies");
}

}  // namespace warm_start_test
