#include <merganser/runs/curve_policies.hpp>

#include <support/catch.hpp>

namespace curve_policies_test {

using namespace merganser::runs;

TEST_CASE("Policies are found by name", "[runs][curve]") {
  CHECK(policy_names() == std::vector<std::string>{"learned", "random", "fixed", "boundary", "strided"});
  REQUIRE(find_policy("random") != nullptr);
  CHECK(find_policy("random")->name == "random");
  CHECK(find_policy("ungated") == nullptr);
  CHECK(is_bound("ungated"));
  CHECK(is_bound("all_deleted"));
  CHECK_FALSE(is_bound("learned"));
}

TEST_CASE("A strided pooling aims at the rate of a whole stride", "[runs][curve]") {
  const Policy& strided = *find_policy("strided");
  CHECK(strided.aim(0.5) == 0.5);
  CHECK(strided.aim(0.45) == 0.5);
  CHECK(strided.aim(0.75) == 0.75);
  CHECK_FALSE(strided.aim(0.25).has_value());
  CHECK(find_policy("learned")->aim(0.25) == 0.25);
}

TEST_CASE("A policy is put into a model", "[runs][curve]") {
  const auto designed = [](const char* policy, double target) {
    ModelOptions model;
    design_policy(policy, model, target);
    return model;
  };
  CHECK(designed("learned", 0.5).gate == GateChoice::learned);
  CHECK(designed("fixed", 0.5).gate == GateChoice::fixed);
  CHECK(designed("ungated", 0.0).gate == GateChoice::none);
  CHECK(designed("all_deleted", 1.0).gate == GateChoice::none);
  CHECK_FALSE(designed("learned", 0.5).pooling.has_value());
  const ModelOptions strided = designed("strided", 0.75), boundary = designed("boundary", 0.75);
  REQUIRE(strided.pooling.has_value());
  CHECK(strided.pooling->kind == merganser::io::PoolingKind::strided);
  CHECK(strided.pooling->rate == 4);
  REQUIRE(boundary.pooling.has_value());
  CHECK(boundary.pooling->kind == merganser::io::PoolingKind::boundaries);
  CHECK(boundary.pooling->prior == 0.25);
}

TEST_CASE("What matters to a policy", "[runs][curve]") {
  CHECK(matters_to("learned", OptionRole::learned_gate));
  CHECK(matters_to("learned", OptionRole::gate));
  CHECK_FALSE(matters_to("random", OptionRole::learned_gate));
  CHECK(matters_to("random", OptionRole::gate));
  for (const char* gateless : {"boundary", "strided", "ungated", "all_deleted"}) {
    CHECK_FALSE(matters_to(gateless, OptionRole::learned_gate));
    CHECK_FALSE(matters_to(gateless, OptionRole::gate));
    CHECK(matters_to(gateless, OptionRole::training));
  }
}

TEST_CASE("What the name of a policy stands for", "[runs][curve]") {
  CHECK(CurvePolicy("learned").trained == find_policy("learned"));
  CHECK(CurvePolicy("learned").named.empty());
  CHECK_FALSE(CurvePolicy("learned").is_of_twin);
  CHECK_FALSE(CurvePolicy("ungated").is_of_twin);
  const CurvePolicy twin("tome:block=1"), both("strided+tome:block=1");
  CHECK(twin.is_of_twin);
  CHECK(twin.named == "tome:block=1");
  CHECK(twin.aim(0.3) == 0.3);
  CHECK_FALSE(both.is_of_twin);
  CHECK(both.trained == find_policy("strided"));
  CHECK(both.named == "tome:block=1");
  CHECK_FALSE(both.aim(0.25).has_value());

  const CurvePolicy alone("ungated+tome:block=1");
  CHECK_FALSE(alone.is_of_twin);
  CHECK(alone.trained == nullptr);
  ModelOptions by_itself;
  design_policy("ungated+tome:block=1", by_itself, 0.5);
  CHECK(by_itself.gate == GateChoice::none);
  CHECK(by_itself.policies == std::vector<std::string>{"tome:block=1"});

  ModelOptions model;
  design_policy("learned+tome:block=1", model, 0.5);
  CHECK(model.gate == GateChoice::learned);
  CHECK(model.policies == std::vector<std::string>{"tome:block=1"});
  ModelOptions of_twin;
  design_policy("tome:block=1", of_twin, 0.5);
  CHECK(of_twin.gate == GateChoice::none);
  CHECK(of_twin.policies.empty());
  CHECK_FALSE(matters_to("tome", OptionRole::gate));
  CHECK(matters_to("learned+tome", OptionRole::learned_gate));
}

}  // namespace curve_policies_test
