#include <merganser/runs/policy_catalogue.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>
#include <merganser/models/encoder.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/random_values.hpp"

namespace policy_catalogue_test {

using namespace merganser;
using namespace merganser::runs;
using namespace merganser::testing;

models::StackConfig sizes() {
  models::StackConfig stack;
  stack.width = 8;
  stack.heads = 2;
  stack.head_width = 4;
  stack.feed_forward_width = 8;
  stack.blocks = 3;
  return stack;
}

struct SmallModel {
  models::Encoder<float> encoder{sizes()};
};

TEST_CASE("every policy of the catalogue runs, and those with a budget remove what a call asks for",
          "[policy_catalogue]") {
  models::Encoder<float> encoder(sizes());
  Rng rng(4);
  encoder.initialize(1, rng);
  const SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{20, 12});
  Vector<TokenId> ids;
  for (Index t = 0; t < offsets.total(); ++t) ids.push_back(t % 5 == 0 ? 35 : 100 + static_cast<TokenId>(t));
  models::EncoderInput<float> input{{random_matrix<float>(offsets.total(), 8, rng), offsets}, ids};
  std::set<std::string> names;
  for (const NamedPolicy& policy : policy_catalogue()) {
    CAPTURE(policy.name);
    CHECK(names.insert(policy.name).second);
    encoder.policies = named_policies(policy.name, encoder.config());
    encoder.policies[0].policy.initialize(1, rng);
    merge::DeletionOptions options;
    options.target_rate = 0.4;
    Rng draws(1);
    input.rng = &draws;
    const models::EncoderOutput<float> output = encoder.forward(input, options);
    CHECK(output.reports.size() == 1);
    CHECK(output.hidden.total() > 0);
    if (encoder.policies[0].policy.traits().has_budget) {
      CHECK(output.hidden.offsets.length(0) <= 12 + 1);
      CHECK(output.hidden.offsets.length(1) <= 7 + 1);
    }
    CHECK(catalogue_text().find("  " + policy.name + ": " + policy.description) != std::string::npos);
  }
}

/// Sequences of some lengths, among them one token and none, without pads.
struct SmallBatch {
  SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{20, 1, 0, 13});
  Vector<TokenId> ids;
  models::EncoderInput<float> input;

  explicit SmallBatch(Rng& rng) {
    for (Index t = 0; t < offsets.total(); ++t) ids.push_back(t % 5 == 0 ? 35 : 100 + static_cast<TokenId>(t));
    input = {{random_matrix<float>(offsets.total(), 8, rng), offsets}, ids};
  }

  models::EncoderOutput<float> run(const models::Encoder<float>& encoder, const merge::DeletionOptions& options) {
    Rng draws(1);
    input.rng = &draws;
    return encoder.forward(input, options);
  }
};

bool has_rate(const NamedPolicy& policy) {
  const OptionTable table = policy.settings();
  return std::any_of(table.begin(), table.end(), [](const Option& option) { return option.name == "rate"; });
}

/// Settings beside the usual ones that change what becomes of tokens.
std::vector<std::string> variants_of(const std::string& name) {
  static const std::map<std::string, std::vector<std::string>> more = {
      {"attention_top_k", {",rest=fused", ",score=class_token,rest=fused"}},
      {"density_peaks", {",rest=joined"}},
      {"diffrate", {",pruned_share=1", ",pruned_share=0"}},
      {"local_merging", {",at=attention,reach=3"}},
      {"tofu", {",fusion=mean", ",fusion=pruned"}},
      {"ward_pooling", {",at=attention,clusters=neighbours"}},
      {"zero_tprune", {",alike_share=1", ",alike_share=0"}}};
  std::vector<std::string> variants = {""};
  if (const auto found = more.find(name); found != more.end())
    variants.insert(variants.end(), found->second.begin(), found->second.end());
  return variants;
}

TEST_CASE("an encoder with all rates 0 has the bits of one without policies", "[policy_catalogue]") {
  SmallModel model;
  models::Encoder<float>& encoder = model.encoder;
  Rng rng(4);
  encoder.initialize(1, rng);
  SmallBatch batch(rng);
  const models::EncoderOutput<float> plain = batch.run(encoder, {});
  const auto has_bits_of_plain = [&](const merge::DeletionOptions& options) {
    const models::EncoderOutput<float> output = batch.run(encoder, options);
    const Matrix<float>&got = output.hidden.values, &expected = plain.hidden.values;
    return output.reports.size() == encoder.policies.size() && output.hidden.offsets == plain.hidden.offsets &&
           output.hidden.positions == plain.hidden.positions && output.origin == plain.origin &&
           got.size() == expected.size() &&
           std::memcmp(got.data(), expected.data(), static_cast<std::size_t>(got.size()) * sizeof(float)) == 0;
  };
  const merge::DeletionOptions own, own_soft = merge::DeletionOptions::with_mode(merge::DeletionMode::soft);
  merge::DeletionOptions hard;
  hard.target_rate = 0;
  hard.survivor_bias = merge::SurvivorBias::dropped;
  merge::DeletionOptions soft = own_soft;
  soft.target_rate = 0;
  std::set<std::string> tried;
  for (const NamedPolicy& policy : policy_catalogue()) {
    if (policy.name == "adaptive_sampling") continue;  // its budget is the least that goes
    for (const std::string& variant : variants_of(policy.name))
      for (const char* place : {":block=1", ":block=all", ":block=all,size_bias=log_size"}) {
        const auto put = [&](const std::string& text) {
          encoder.policies = named_policies(text, encoder.config());
          for (auto& placement : encoder.policies) placement.policy.initialize(1, rng);
        };
        const std::string text = policy.name + place + variant;
        CAPTURE(text);
        put(text);
        const merge::PolicyTraits traits = encoder.policies[0].policy.traits();
        if (!traits.has_budget) continue;
        tried.insert(policy.name);
        CHECK(has_bits_of_plain(hard));
        if (!traits.is_gate) CHECK(has_bits_of_plain(soft));  // what a gate says stays on the keys
        if (!has_rate(policy)) continue;
        put(text + ",rate=0");
        CHECK(has_bits_of_plain(own));
        CHECK(has_bits_of_plain(own_soft));
      }
  }
  CHECK(tried.size() >= 17);
}

TEST_CASE("policies by name take the place of a model's own, or stand beside them", "[policy_catalogue]") {
  SmallModel model;
  model.encoder.policies = {merge::before_block(1, merge::DeleteGate<float>({.width = 8}))};
  put_policies({"local_merging:block=0", "own", "tome"}, model);
  REQUIRE(model.encoder.policies.size() == 3);
  CHECK(model.encoder.policies[0].name == "local_merging:block=0");
  CHECK(model.encoder.policies[1].policy.traits().is_gate);
  CHECK(model.encoder.policies[2].name == "tome");
  put_policies({"local_merging:rate=0.5"}, model);
  REQUIRE(model.encoder.policies.size() == 1);
  CHECK_THROWS_AS(put_policies({"nix"}, model), std::invalid_argument);
  CHECK(model.encoder.policies.size() == 1);

  model.encoder.policies = {merge::before_block(1, merge::StridedPooling<float>({8, 2}))};
  CHECK(argument_error([&] { put_policies({"tome"}, model); }) ==
        "--policy: the model does not work without its own; expected own among the names");
  put_policies({"own", "tome"}, model);
  CHECK(model.encoder.policies.size() == 2);
  CHECK(argument_error([&] {
          put_policies({"own", "tome", "tome"}, model);
        }) == "--policy: got tome twice, expected each policy once");
  std::string warning;
  put_policies({"own", "channel_fold"}, model, [&](const std::string& text) { warning = text; });
  CHECK(warning.starts_with("policy channel_fold is one that a model is trained with, and this one was not"));
}

}  // namespace policy_catalogue_test
