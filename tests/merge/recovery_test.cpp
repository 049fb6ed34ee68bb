// A way back of any kind by value: copies, what it holds, its tensors, its gradients; and the laws of ways back.
#include <merganser/merge/recovery.hpp>

#include <string>
#include <type_traits>
#include <utility>

#include <merganser/core/marks.hpp>
#include <merganser/nn/linear.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"
#include "support/recovery_laws.hpp"

namespace recovery_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

/// Every token takes its row times its score; of one that is in none 0.
template <Real Scalar>
struct CopyBack {
  static constexpr bool is_causal = true;
  struct Cache {
    Vector<Index> group;
    Vector<Scalar> scores;
    Matrix<Scalar> y;
  };
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const {
    Cache cache;
    return forward(y, reduced, cache);
  }
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const {
    reduced.check("CopyBack::forward", y);
    cache = {reduced.reduction.report.group, reduced.reduction.report.scores, y};
    Matrix<Scalar> result = Matrix<Scalar>::Zero(cache.group.size(), y.cols());
    for (Index t = 0; t < cache.group.size(); ++t)
      if (cache.group[t] >= 0) result.row(t) = cache.scores[t] * y.row(cache.group[t]);
    return result;
  }
  RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, CopyBack&) const {
    RecoveryGradient<Scalar> result{Matrix<Scalar>::Zero(cache.y.rows(), cache.y.cols())};
    result.scores.assign(cache.group.size(), Scalar{0});
    for (Index t = 0; t < cache.group.size(); ++t) {
      if (cache.group[t] < 0) continue;
      result.y.row(cache.group[t]) += cache.scores[t] * grad.row(t);
      result.scores[t] = grad.row(t).dot(cache.y.row(cache.group[t]));
    }
    return result;
  }
};

/// One with parameters: what a linear map makes of x, and of the rows that went on.
template <Real Scalar>
struct MapBack {
  using ScalarType = Scalar;
  struct Cache {
    Matrix<Scalar> x, reduced;
    Vector<Index> group;
    Vector<std::uint8_t> pads;
  };
  bool causal = false;
  nn::Linear<Scalar> linear{{6, 6}};

  bool is_causal() const { return causal; }
  void initialize(double factor, Rng& rng) { linear.initialize(factor, rng); }
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const {
    Cache cache;
    return forward(y, reduced, cache);
  }
  Matrix<Scalar> forward(const Matrix<Scalar>&, const Reduced<Scalar>& reduced, Cache& cache) const {
    cache = {reduced.x, reduced.reduction.x, reduced.reduction.report.group, reduced.state.pads()};
    for (Index t = 0; t < cache.x.rows(); ++t) {
      if (Marks(cache.pads)[t]) cache.x.row(t).setZero();
      if (cache.group[t] >= 0) cache.x.row(t) += cache.reduced.row(cache.group[t]);
    }
    return linear.forward(cache.x);
  }
  RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, MapBack& gradients) const {
    RecoveryGradient<Scalar> result{Matrix<Scalar>::Zero(cache.reduced.rows(), 6)};
    result.x = linear.backward(grad, cache.x, gradients.linear);
    result.reduced = Matrix<Scalar>::Zero(cache.reduced.rows(), 6);
    for (Index t = 0; t < grad.rows(); ++t) {
      if (cache.group[t] >= 0) result.reduced.row(cache.group[t]) += result.x.row(t);
      if (Marks(cache.pads)[t]) result.x.row(t).setZero();
    }
    return result;
  }
  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    linear.visit(visitor, prefix + "map.");
  }
};

static_assert(RecoveryLayer<CopyBack<double>, double> && RecoveryLayer<MapBack<float>, float>);
static_assert(RecoveryLayer<Recovery<double>, double>);
static_assert(!RecoveryLayer<CopyBack<double>, float> && !RecoveryLayer<int, double>);
static_assert(std::is_convertible_v<CopyBack<float>, Recovery<float>>);
static_assert(!std::is_convertible_v<CopyBack<float>, Recovery<double>>);
static_assert(std::is_nothrow_move_constructible_v<Recovery<float>>);
static_assert(std::is_nothrow_move_assignable_v<Recovery<float>>);

template <Real Scalar = double>
MapBack<Scalar> map_back(std::uint64_t seed = 1) {
  MapBack<Scalar> layer;
  Rng rng(seed);
  randomise(layer, rng);
  return layer;
}

ReducedBatch<double> some_batch() { return {PolicyBatch<double>({7, 0, 5}, 6), Policy<double>(RunsOfTokens{}), 6}; }

TEST_CASE("a recovery does what the layer that it holds does", "[Recovery]") {
  const ReducedBatch<double> all = some_batch();
  const auto check = [&](const auto& layer) {
    using Layer = std::decay_t<decltype(layer)>;
    const Recovery<double> recovery = layer;
    REQUIRE(identical(recovery.forward(all.y, all.reduced()), layer.forward(all.y, all.reduced())));
    Recovery<double>::Cache cache;
    typename Layer::Cache own;
    const Matrix<double> output = recovery.forward(all.y, all.reduced(), cache);
    REQUIRE(identical(output, layer.forward(all.y, all.reduced(), own)));
    Recovery<double> sums = zeros_like(recovery);
    Layer own_sums;
    testing::detail::require_same_gradient(recovery.backward(output, cache, sums),
                                           layer.backward(output, own, own_sums));
  };
  check(CopyBack<double>{});
  check(map_back());
}

TEST_CASE("a recovery is found by its type, and copied deeply", "[Recovery]") {
  Recovery<double> first = map_back();
  REQUIRE(first.target<MapBack<double>>() != nullptr);
  REQUIRE(first.target<CopyBack<double>>() == nullptr);
  REQUIRE(Recovery<double>().target<CopyBack<double>>() == nullptr);
  REQUIRE((first && !Recovery<double>()));
  const Recovery<double> copy = first;
  Recovery<double> assigned = CopyBack<double>{};
  assigned = first;
  const double before = first.target<MapBack<double>>()->linear.weight.matrix()(0, 0);
  first.target<MapBack<double>>()->linear.weight.matrix()(0, 0) = before + 1;
  REQUIRE(copy.target<MapBack<double>>()->linear.weight.matrix()(0, 0) == before);
  REQUIRE(assigned.target<MapBack<double>>()->linear.weight.matrix()(0, 0) == before);
  const Recovery<double>& same = first;
  first = same;
  const Recovery<double> moved = std::move(first);
  REQUIRE(moved.target<MapBack<double>>()->linear.weight.matrix()(0, 0) == before + 1);
}

TEST_CASE("a recovery says what its layer says, by a constant or a function", "[Recovery]") {
  REQUIRE(Recovery<double>(CopyBack<double>{}).is_causal());
  REQUIRE_FALSE(Recovery<double>(map_back()).is_causal());
  MapBack<double> causal = map_back();
  causal.causal = true;
  REQUIRE(Recovery<double>(causal).is_causal());
}

TEST_CASE("a recovery is initialised and visited as its layer", "[Recovery]") {
  Recovery<double> recovery = map_back(), bare = CopyBack<double>{};
  MapBack<double> own = map_back();
  Rng rng(3), same(3);
  recovery.initialize(0.5, rng);
  own.initialize(0.5, same);
  REQUIRE(identical(recovery.target<MapBack<double>>()->linear.weight.matrix(), own.linear.weight.matrix()));
  const auto state = rng.state();
  bare.initialize(0.5, rng);
  REQUIRE(rng.state() == state);
  const auto views = parameter_views(recovery, "level.0.");
  REQUIRE(views.size() == 1);
  REQUIRE(views[0].name == "level.0.map.weight");
  REQUIRE(parameter_views(bare).empty());
}

TEST_CASE("gradients and caches of another recovery are refused", "[Recovery]") {
  const ReducedBatch<double> all = some_batch();
  const Recovery<double> recovery = map_back();
  Recovery<double>::Cache cache, other;
  const Matrix<double> output = recovery.forward(all.y, all.reduced(), cache);
  Recovery<double>(CopyBack<double>{}).forward(all.y, all.reduced(), other);
  const auto error_of = [&](const Recovery<double>::Cache& of, Recovery<double> sums) {
    return argument_error([&] { recovery.backward(output, of, sums); });
  };
  REQUIRE(error_of(cache, map_back()) == "nothing thrown");
  for (const Recovery<double>& sums : {Recovery<double>(CopyBack<double>{}), Recovery<double>()})
    REQUIRE(error_of(cache, sums) == "Recovery::backward: gradients: got those of another recovery, expected its own");
  for (const Recovery<double>::Cache& of : {other, Recovery<double>::Cache()})
    REQUIRE(error_of(of, map_back()) == "Recovery::backward: cache: got that of another recovery, expected its own");
}

TEST_CASE("a recovery that holds nothing can be assigned to and nothing else", "[Recovery]") {
  const ReducedBatch<double> all = some_batch();
  Recovery<double> empty;
  const Recovery<double> copy = empty;
  Recovery<double>::Cache cache;
  Rng rng(1);
  const auto expected = [](const std::string& call) {
    return "Recovery: " + call + ": got an empty recovery, expected one that holds something";
  };
  REQUIRE(argument_error([&] { copy.is_causal(); }) == expected("is_causal"));
  REQUIRE(argument_error([&] { empty.initialize(1.0, rng); }) == expected("initialize"));
  REQUIRE(argument_error([&] { copy.forward(all.y, all.reduced()); }) == expected("forward"));
  REQUIRE(argument_error([&] { copy.backward(all.y, cache, empty); }) == expected("backward"));
  REQUIRE(argument_error([&] { parameter_views(empty); }) == expected("visit"));
  empty = CopyBack<double>{};
  REQUIRE(empty.forward(all.y, all.reduced()).rows() == 12);
}

TEST_CASE("what a recovery is told must be of one batch", "[Recovery]") {
  const ReducedBatch<double> all = some_batch();
  const Matrix<double> short_y = all.y.topRows(2), short_x = all.batch.x.topRows(3);
  REQUIRE(argument_error([&] { all.reduced().check("Here", short_y); }) == "Here: y.rows(): got 2, expected 7");
  const Reduced<double> wrong{short_x, all.batch.state, all.reduction};
  REQUIRE(argument_error([&] { wrong.check("Here", all.y); }) == "Here: x.rows(): got 3, expected 12");
  ReducedBatch<double> other(PolicyBatch<double>({7}, 6), Policy<double>(RunsOfTokens{}), 6);
  const Reduced<double> mixed{all.batch.x, all.batch.state, other.reduction};
  REQUIRE(argument_error([&] { mixed.check("Here", all.y); }) ==
          "Here: reduction.state.offsets.count(): got 1, expected 3");
}

TEST_CASE("recoveries with and without parameters keep the laws", "[Recovery]") {
  require_recovery_laws([]<Real Scalar>() { return Recovery<Scalar>(CopyBack<Scalar>{}); });
  require_recovery_laws([]<Real Scalar>() { return Recovery<Scalar>(map_back<Scalar>()); });
}

}  // namespace recovery_test
