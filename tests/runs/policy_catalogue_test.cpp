#include <merganser/runs/policy_catalogue.hpp>

#include <set>
#include <sstream>
#include <string>

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
}

}  // namespace policy_catalogue_test
