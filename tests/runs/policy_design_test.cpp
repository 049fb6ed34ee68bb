#include <merganser/runs/policy_design.hpp>

#include <optional>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace policy_design_test {

using namespace merganser;
using namespace merganser::testing;
using runs::GateChoice;
using runs::ModelOptions;

io::EncoderPolicies chosen(const ModelOptions& options, io::EncoderPolicies policies,
                           std::optional<double> target = std::nullopt) {
  runs::detail::choose_policies(options, target, 4, policies);
  return policies;
}

io::EncoderPolicies gated(io::GateKind kind, Index block) {
  io::EncoderPolicies policies;
  policies.gates.resize(1);
  policies.gates[0].kind = kind;
  policies.gates[0].block = block;
  policies.gates[0].scale = -20;
  return policies;
}

TEST_CASE("options choose gates, and the others stay as they are", "[policy_design]") {
  ModelOptions options;
  REQUIRE(chosen(options, {}).gates.empty());
  const io::EncoderPolicies present = gated(io::GateKind::learned, 3);
  REQUIRE(chosen(options, present).gates == present.gates);
  options.gate = GateChoice::learned;
  REQUIRE(chosen(options, present).gates == present.gates);  // of the same kind: as it is
  REQUIRE(chosen(options, {}).gates.front().block == 2);
  options.gate = GateChoice::random;
  const io::GateConfig random = chosen(options, present, 0.4).gates.front();
  REQUIRE(random.kind == io::GateKind::random);
  REQUIRE(random.block == 3);
  REQUIRE(random.rate == 0.4);
  REQUIRE(random.scale == -30);
  options.gate = GateChoice::fixed;
  options.gate_blocks = {1, 3};
  const Vector<io::GateConfig> fixed = chosen(options, present).gates;
  REQUIRE(fixed.size() == 2);
  REQUIRE(fixed[1].block == 3);
  REQUIRE(fixed[0].separators == data::ByteTokenizer::separator_ids());
  options.gate = GateChoice::none;
  REQUIRE(chosen(options, present).gates.empty());
}

TEST_CASE("options choose a pooling in place of gates", "[policy_design]") {
  ModelOptions options;
  options.pooling.emplace();
  options.pooling->prior = 0.4;
  const io::EncoderPolicies pooled = chosen(options, gated(io::GateKind::learned, 1));
  REQUIRE(pooled.gates.empty());
  REQUIRE(pooled.pooling->block == 1);
  REQUIRE(pooled.pooling->prior == 0.4);
  io::EncoderPolicies warm = pooled;
  warm.pooling->temperature = 0.9;
  REQUIRE(chosen(options, warm).pooling->temperature == 0.9);
  options.pooling.reset();
  options.gate = GateChoice::learned;
  REQUIRE_FALSE(chosen(options, warm).pooling.has_value());
  REQUIRE(chosen(options, warm).gates.front().block == 1);
}

TEST_CASE("policies in words", "[policy_design]") {
  REQUIRE(runs::gate_word({}) == "none");
  REQUIRE(runs::shortening_words({}) == "none");
  REQUIRE(runs::gate_word(gated(io::GateKind::fixed, 1)) == "fixed");
  REQUIRE(runs::shortening_words(gated(io::GateKind::random, 3)) == "random at block 3");
  io::EncoderPolicies pooled;
  pooled.pooling.emplace();
  REQUIRE(runs::shortening_words(pooled) == "boundary pooling at block 0");
  pooled.pooling->kind = io::PoolingKind::strided;
  REQUIRE(runs::shortening_words(pooled) == "strided pooling at block 0");
  pooled.named = {"tome", "local_merging:block=1"};
  REQUIRE(runs::shortening_words(pooled) == "tome, local_merging:block=1, strided pooling at block 0");
  pooled.pooling.reset();
  REQUIRE(runs::shortening_words(pooled) == "tome, local_merging:block=1");
}

TEST_CASE("policies by name stand beside gates, and those of the start stay where none are named", "[policy_design]") {
  ModelOptions options;
  options.policies = {"tome"};
  const io::EncoderPolicies both = chosen(options, gated(io::GateKind::learned, 1));
  REQUIRE(both.named == std::vector<std::string>{"tome"});
  REQUIRE(both.gates.size() == 1);
  REQUIRE(chosen({}, both).named == both.named);
}

TEST_CASE("blocks that there are not are refused", "[policy_design]") {
  ModelOptions options;
  options.gate = GateChoice::learned;
  for (const auto& blocks : {std::vector<Index>{4}, std::vector<Index>{2, 1}, std::vector<Index>{-1}}) {
    options.gate_blocks = blocks;
    REQUIRE(error_text<std::invalid_argument>([&] { chosen(options, {}); }).find("rising block numbers below 4") !=
            std::string::npos);
  }
}

}  // namespace policy_design_test
