#include <merganser/io/models/selftest.hpp>

#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/io/models/model_directory.hpp>

#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/golden_dir.hpp"

namespace selftest_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using merge::DeletionMode;
using models::EncoderDecoder;

EncoderDecoder<double> tiny_model() {
  Design<EncoderDecoder<double>> design;
  design.vocabulary = 11;
  design.encoder = tiny_stack();
  design.start = 2;
  design.gates = {gate_at(1)};
  EncoderDecoder<double> model = design.make();
  fill_model(model, 1);
  return model;
}

std::vector<SelftestInput> inputs_of(const std::vector<TokenId>& source) {
  return {{source, DeletionMode::none}, {source, DeletionMode::soft}, {source, DeletionMode::hard}};
}

const std::vector<TokenId> source = {3, 4, 5, 6, 7, 8, 9, 10, 1};

template <Real Scalar>
std::string error_of(const EncoderDecoder<Scalar>& model, const Selftest& selftest) {
  return error_text<IoError>([&] { check_selftest(model, selftest, "s.json"); });
}

TEST_CASE("a model passes its own self-test", "[check_selftest]") {
  const auto model = tiny_model();
  std::vector<SelftestInput> inputs = inputs_of(source);
  inputs.push_back({{}, DeletionMode::hard});
  inputs.push_back({{5}, DeletionMode::none});
  const Selftest selftest = make_selftest<double>(model, inputs, 6);
  REQUIRE(selftest.cases.size() == inputs.size());
  CHECK(selftest.cases[0].kept == std::vector<Position>{0, 1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(selftest.cases[1].kept.size() == source.size());
  CHECK(selftest.cases[2].kept.size() < source.size());
  CHECK(!selftest.cases[2].kept.empty());
  CHECK(selftest.cases[3].kept.empty());
  for (const SelftestCase& one : selftest.cases) {
    CHECK(one.target.front() == 2);
    CHECK(one.target.size() <= 6);
    CHECK(one.logits.front().position == 0);
    CHECK(one.logits.back().position == static_cast<Index>(one.target.size()) - 1);
    for (const SelftestLogits& row : one.logits) CHECK(row.values.size() == 11);
  }
  CHECK(error_of(model, selftest) == "nothing thrown");
  CHECK(error_of(model, parse_selftest(to_json(selftest), "again")) == "nothing thrown");
  CHECK(error_of(model, Selftest{}) == "nothing thrown");
}

TEST_CASE("a self-test beside a saved model is replayed", "[check_selftest]") {
  const TemporaryDirectory directory;
  const auto model = tiny_model();
  save_model(model, directory.path());
  write_selftest(make_selftest<double>(model, inputs_of(source)), directory.path());
  CHECK(check_selftest(load_model<double>(directory.path()), directory.path()) == 3);
  CHECK(check_selftest(load_model<float>(directory.path()), directory.path()) == 3);

  auto other = model;
  other.lm_head.weight.matrix()(4, 3) += 0.5;
  CHECK_THROWS_WITH(check_selftest(other, directory.path()), ContainsSubstring("selftest.json: cases[0].logits"));
}

TEST_CASE("a mismatch names the quantity, got and expected", "[check_selftest]") {
  const auto model = tiny_model();
  Selftest selftest = make_selftest<double>(model, inputs_of(source), 4);
  SelftestCase& hard = selftest.cases[2];
  SECTION("one position more") {
    hard.kept.clear();
    CHECK_THAT(error_of(model, selftest),
               ContainsSubstring("s.json: cases[2].kept: got [0] = ") && ContainsSubstring("expected 0 in all"));
  }
  SECTION("another position") {
    selftest.cases[0].kept = {0, 1, 2, 4};
    CHECK(error_of(model, selftest) == "s.json: cases[0].kept: got [3] = 3 of 9, expected [3] = 4 of 4");
  }
  SECTION("a logit") {
    hard.logits[0].values[3] += 0.01;
    const std::string error = error_of(model, selftest);
    CHECK_THAT(error, ContainsSubstring("s.json: cases[2].logits at position 0 of id 3: got "));
    CHECK_THAT(error, ContainsSubstring(" within 0.001"));
  }
  SECTION("a logit within the tolerance") {
    hard.logits[0].values[3] += 0.01;
    selftest.tolerance = 0.1;
    CHECK(error_of(model, selftest) == "nothing thrown");
  }
  SECTION("an answer") {
    hard.logits.clear();
    REQUIRE(hard.target.size() >= 2);
    const TokenId right = hard.target[1];
    hard.target[1] = right == 5 ? 6 : 5;
    CHECK_THAT(error_of(model, selftest),
               ContainsSubstring("s.json: cases[2].target: got [1] = " + std::to_string(right) + " of"));
  }
  SECTION("an id that the model does not have") {
    hard.source[1] = 11;
    CHECK(error_of(model, selftest) ==
          "s.json: cases[2].source: got id 11, expected ids below 11, the vocabulary of the model");
    hard.source[1] = 4;
    hard.target.back() = 999;
    CHECK_THAT(error_of(model, selftest), ContainsSubstring("s.json: cases[2].target: got id 999"));
  }
  SECTION("more logits than the model has") {
    hard.logits[0].values.push_back(0);
    CHECK_THAT(error_of(model, selftest), ContainsSubstring("cases[2].logits at position 0: got 12 numbers"));
  }
  SECTION("weights that are no numbers") {
    auto broken = model;
    broken.lm_head.weight.matrix()(4, 3) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THAT(error_of(broken, selftest), ContainsSubstring("s.json: cases[0]: got generate: logits: got nan"));
  }
}

TEST_CASE("an input that the model cannot read is an error", "[check_selftest]") {
  EncoderDecoder<double>::Config config;
  config.vocabulary = 11;
  config.encoder = tiny_stack();
  config.encoder.positions = models::PositionScheme::absolute;
  EncoderDecoder<double> model(config);
  fill_model(model, 1);
  Selftest selftest;
  selftest.cases.push_back({source, DeletionMode::none, {}, {0}, {}});  // more tokens than positions
  CHECK_THAT(error_of(model, selftest),
             ContainsSubstring("s.json: cases[0]: got ") && ContainsSubstring("an input that the model reads"));
}

TEST_CASE("random gates and poolings are replayed as well", "[check_selftest]") {
  Design<EncoderDecoder<double>> design;
  design.vocabulary = 11;
  design.encoder = tiny_stack();
  SECTION("a random gate") { design.gates = {{.block = 0, .kind = GateKind::random, .rate = 0.5}}; }
  SECTION("a pooling") { design.pooling = {.kind = PoolingKind::strided, .rate = 2}; }
  EncoderDecoder<double> model = design.make();
  fill_model(model, 3);
  const Selftest selftest = make_selftest<double>(model, inputs_of(source));
  REQUIRE(selftest.cases.size() == 3);
  CHECK(selftest.cases[2].kept.size() < source.size());
  CHECK(error_of(model, selftest) == "nothing thrown");
}

TEST_CASE("what another machine may decide otherwise is not written down", "[make_selftest]") {
  auto model = tiny_model();
  SECTION("a gate on the threshold") {
    gate_in(model.encoder).visit([](const std::string&, auto& tensor) { tensor.setZero(); }, "");
    const Selftest selftest = make_selftest<double>(model, inputs_of(source));
    CHECK(selftest.cases.size() == 2);
    CHECK(selftest.cases[1].mode == DeletionMode::soft);
  }
  SECTION("tokens that are equally good") {
    model.lm_head.weight.matrix().setZero();
    for (const SelftestCase& one : make_selftest<double>(model, inputs_of(source)).cases)
      CHECK(one.target == std::vector<TokenId>{2});
  }
}

TEST_CASE("a self-test of what cannot be is refused", "[make_selftest]") {
  auto model = tiny_model();
  CHECK_THROWS_AS(make_selftest<double>(model, std::vector<SelftestInput>{{{11}}}), std::invalid_argument);
  CHECK_THROWS_AS(make_selftest<double>(model, std::vector<SelftestInput>{{{-1}}}), std::invalid_argument);
  CHECK_THROWS_AS(make_selftest<double>(model, inputs_of(source), 0), std::invalid_argument);
  model.lm_head.weight.matrix()(4, 3) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(make_selftest<double>(model, inputs_of(source)), std::invalid_argument);
}

TEST_CASE("a model of another implementation gets a self-test", "[make_selftest]") {
  const auto model = load_model<float>(golden_dir() + "/mrt5_soft_hard");
  const std::vector<TokenId> text = {75, 104, 111, 111, 114, 1};
  const Selftest selftest = make_selftest<float>(model, inputs_of(text));
  REQUIRE(selftest.cases.size() >= 2);
  CHECK(error_of(model, parse_selftest(to_json(selftest), "again")) == "nothing thrown");
  CHECK(error_of(load_model<double>(golden_dir() + "/mrt5_soft_hard"), selftest) == "nothing thrown");
}

}  // namespace selftest_test
