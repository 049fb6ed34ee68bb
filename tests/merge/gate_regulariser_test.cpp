// The regularisers of a gate: values by hand, gradients by finite differences.
#include <merganser/merge/gate_regulariser.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/random_values.hpp"

namespace gate_regulariser_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Values = Vector<double>;
using Flags = Vector<std::uint8_t>;

constexpr GateRegulariser all_kinds[] = {GateRegulariser::mean_gate, GateRegulariser::clamped_logits,
                                         GateRegulariser::logits, GateRegulariser::variance};

bool reads_logits(GateRegulariser kind) {
  return kind == GateRegulariser::clamped_logits || kind == GateRegulariser::logits;
}

RegulariserResult<double> run(GateRegulariser kind, const Values& values, const Values& logits,
                              const Flags& forced = {}, double threshold = -1.0) {
  return regularise<double>(kind, values, logits, forced, threshold);
}

ParameterView<double> view(const char* name, Values& values) { return {name, values.data(), 1, values.size(), true}; }

TEST_CASE("each regulariser is what it says", "[GateRegulariser]") {
  const Values values = {-30, -2, -4, 0}, logits = {-5, -1, 3, 1};
  REQUIRE_THAT(run(GateRegulariser::mean_gate, values, logits).value, WithinAbs(-9.0, 1e-14));
  REQUIRE_THAT(run(GateRegulariser::logits, values, logits).value, WithinAbs(-0.5, 1e-14));
  // the logit -5 counts as 2 * -1
  REQUIRE_THAT(run(GateRegulariser::clamped_logits, values, logits).value, WithinAbs(0.25, 1e-14));
  // mean -9: 21^2 + 7^2 + 5^2 + 9^2 = 596, over 3
  REQUIRE_THAT(run(GateRegulariser::variance, values, logits).value, WithinAbs(-596.0 / 3.0, 1e-12));
}

TEST_CASE("deleting more lowers every regulariser of the amount, deciding lowers the variance", "[GateRegulariser]") {
  const Values before = {-10, -12, -14}, after = {-20, -12, -14}, decided = {0, -12, -30};
  for (const GateRegulariser kind :
       {GateRegulariser::mean_gate, GateRegulariser::logits, GateRegulariser::clamped_logits})
    REQUIRE(run(kind, after, after, {}, -15).value < run(kind, before, before, {}, -15).value);
  REQUIRE(run(GateRegulariser::variance, decided, decided).value <
          run(GateRegulariser::variance, before, before).value);
}

TEST_CASE("the gradients of the regularisers agree with finite differences", "[GateRegulariser]") {
  for (const GateRegulariser kind : all_kinds)
    for (const Flags& forced : {Flags{}, Flags{0, 1, 0, 0, 1, 0, 0}}) {
      Values values = {-29, -20, -7, -3, -1, -0.5, -11}, logits = {-4, -3, -2.5, -1, 0.5, 2, 6};  // floor at -2
      const auto result = run(kind, values, logits, forced);
      Values grad_values = result.grad_values, grad_logits = result.grad_logits;
      REQUIRE(grad_values.size() == (reads_logits(kind) ? 0 : values.size()));
      REQUIRE(grad_logits.size() == (reads_logits(kind) ? logits.size() : 0));
      grad_values.resize(values.size(), 0.0);
      grad_logits.resize(logits.size(), 0.0);
      CAPTURE(static_cast<int>(kind), forced.size());
      require_gradients([&] { return run(kind, values, logits, forced).value; },
                        {view("values", values), view("logits", logits)},
                        {view("values", grad_values), view("logits", grad_logits)});
    }
}

TEST_CASE("a clamped logit pulls no further", "[GateRegulariser]") {
  const auto result = run(GateRegulariser::clamped_logits, {0, 0, 0, 0}, {-2.5, -2, -1.5, 9});
  REQUIRE(result.grad_logits == Values{0, 0.25, 0.25, 0.25});
}

TEST_CASE("forced tokens do not count", "[GateRegulariser]") {
  for (const GateRegulariser kind : all_kinds) {
    const auto without = run(kind, {-3, -9, -4}, {-1, 2, 1});
    const auto with = run(kind, {-3, -30, -9, -4, -30}, {-1, 7, 2, 1, 40}, {0, 1, 0, 0, 255});
    CAPTURE(static_cast<int>(kind));
    REQUIRE_THAT(with.value, WithinAbs(without.value, 1e-14));
    const Values& gradient = reads_logits(kind) ? with.grad_logits : with.grad_values;
    const Values& expected = reads_logits(kind) ? without.grad_logits : without.grad_values;
    REQUIRE(gradient == Values{expected[0], 0, expected[1], expected[2], 0});
  }
}

TEST_CASE("without tokens a regulariser is 0, and one token has no variance", "[GateRegulariser]") {
  for (const GateRegulariser kind : all_kinds) {
    CAPTURE(static_cast<int>(kind));
    REQUIRE(run(kind, {}, {}).value == 0);
    const auto all_forced = run(kind, {-30, -30}, {1, 2}, {1, 1});
    REQUIRE(all_forced.value == 0);
    REQUIRE((reads_logits(kind) ? all_forced.grad_logits : all_forced.grad_values) == Values{0, 0});
    const auto one = run(kind, {-30, -5}, {1, 2}, {1, 0});
    const bool variance = kind == GateRegulariser::variance;
    REQUIRE(one.value == (variance ? 0.0 : kind == GateRegulariser::mean_gate ? -5.0 : 2.0));
    REQUIRE((reads_logits(kind) ? one.grad_logits : one.grad_values) == (variance ? Values{0, 0} : Values{0, 1}));
  }
}

TEST_CASE("the regularisers in float follow those in double", "[GateRegulariser]") {
  Rng rng(1);
  const auto values = random_values<double>(100, rng, 10), logits = random_values<double>(100, rng, 3);
  const Vector<float> single_values(values.begin(), values.end()), single_logits(logits.begin(), logits.end());
  for (const GateRegulariser kind : all_kinds) {
    const auto twice = run(kind, values, logits);
    const auto single = regularise<float>(kind, single_values, single_logits, {}, -1.0);
    REQUIRE_THAT(single.value, WithinAbs(twice.value, 1e-9));  // sums are double in both
    for (Index t = 0; t < twice.grad_values.size(); ++t)
      REQUIRE_THAT(single.grad_values[t], WithinAbs(twice.grad_values[t], 1e-6));
    for (Index t = 0; t < twice.grad_logits.size(); ++t)
      REQUIRE_THAT(single.grad_logits[t], WithinAbs(twice.grad_logits[t], 1e-6));
  }
}

TEST_CASE("lengths that differ are named", "[GateRegulariser]") {
  const GateRegulariser kind = GateRegulariser::mean_gate;
  REQUIRE(argument_error([&] { run(kind, {1, 2}, {1}); }) == "regularise: logits.size(): got 1, expected 2");
  REQUIRE(argument_error([&] { run(kind, {1, 2}, {1, 2}, {0}); }) == "regularise: forced.size(): got 1, expected 2");
}

}  // namespace gate_regulariser_test
