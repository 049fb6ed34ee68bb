// What a gate is: the concepts, and what a gate knows of a batch unless it is told.
#include <merganser/merge/gate.hpp>

#include <span>

#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/delete_gate.hpp>

#include "support/catch.hpp"

namespace gate_test {

using namespace merganser;
using namespace merganser::merge;

static_assert(LearnedGate<DeleteGate<float>, float>);
static_assert(LearnedGate<DeleteGate<double>, double>);
static_assert(!Gate<DeleteGate<float>, double>, "a gate of other numbers is none");
static_assert(Gate<RandomGate, float> && Gate<RandomGate, double>);
static_assert(!LearnedGate<RandomGate, float>);
static_assert(Gate<FixedRuleGate, float> && Gate<FixedRuleGate, double>);
static_assert(!LearnedGate<FixedRuleGate, double>);
static_assert(!Gate<int, float>);

/// Keeps by a value that it can name.
struct FirstColumn {
  GateValues<double> forward(const GateInput<double>& input) const {
    GateValues<double> said;
    for (Index t = 0; t < input.x.rows(); ++t) said.values.push_back(input.forced[t] ? -9.0 : input.x(t, 0));
    return said;
  }
  int default_threshold() const { return -1; }
};
static_assert(Gate<FirstColumn, double>);
static_assert(!Gate<FirstColumn, float>);

struct WithoutThreshold {
  GateValues<double> forward(const GateInput<double>&) const { return {}; }
};
static_assert(!Gate<WithoutThreshold, double>);

struct OnlyNumbers {
  Vector<double> forward(const GateInput<double>&) const { return {}; }
  double default_threshold() const { return 0; }
};
static_assert(!Gate<OnlyNumbers, double>);

/// Has no `backward`, and so learns nothing.
struct Forgetful : FirstColumn {
  struct Cache {};
  using FirstColumn::forward;
  GateValues<double> forward(const GateInput<double>& input, Rng&, Cache&) const { return forward(input); }
};
static_assert(Gate<Forgetful, double> && !LearnedGate<Forgetful, double>);

struct Learning : Forgetful {
  Matrix<double> backward(std::span<const double>, std::span<const double>, const Cache&, Learning&) const {
    return {};
  }
};
static_assert(LearnedGate<Learning, double>);

TEST_CASE("a gate that is told of vectors alone knows nothing else", "[Gate]") {
  const Matrix<double> x = Matrix<double>::Constant(3, 2, 4.0);
  const GateInput<double> input{x};
  REQUIRE(input.x.data() == x.data());  // a view
  REQUIRE(input.forced.list().empty());
  REQUIRE_FALSE(input.forced[2]);
  REQUIRE(input.ids.empty());
  REQUIRE(input.offsets.count() == 0);
  REQUIRE(input.rng == nullptr);
}

TEST_CASE("a gate is shown what there is", "[Gate]") {
  const Matrix<double> x = Matrix<double>::Constant(3, 2, -0.5);
  const Vector<std::uint8_t> forced = {0, 1, 0};
  REQUIRE(FirstColumn().forward({x, forced}).values == Vector<double>{-0.5, -9.0, -0.5});
  REQUIRE(FirstColumn().forward({x}).logits.empty());
}

}  // namespace gate_test
