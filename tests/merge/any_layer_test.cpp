// What values of any kind of layer share: copies, tags of types, caches, and visitors that pass on.
#include <merganser/merge/any_layer.hpp>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace any_layer_test {

using namespace merganser;
using namespace merganser::merge;

struct One {
  struct Cache {
    int calls = 0;
  };
};
struct Other {
  struct Cache {
    int calls = 0;
  };
};

/// Holds nothing, but owns a cache.
struct Owner {
  using Cache = AnyLayerCache<Owner>;

  template <class Layer>
  static int call(Cache& cache) {
    return ++cache.of<Layer>().calls;
  }
};

/// What a layer of numbers does, and a value behind it.
struct HeldNumber {
  using ScalarType = float;
  static constexpr const char *name = "Number", *nothing = "no number";

  virtual ~HeldNumber() = default;
  virtual std::unique_ptr<HeldNumber> copy() const = 0;
  virtual void* find(const void* tag) = 0;
  virtual void initialize(double factor, Rng& rng) = 0;
  virtual void visit(TensorVisitor<float>& visitor, const ParameterName& prefix) = 0;
};

struct HeldRow final : HeldNumber {
  RowVector<float> row = RowVector<float>::Zero(2);

  std::unique_ptr<HeldNumber> copy() const override { return std::make_unique<HeldRow>(*this); }
  void* find(const void* tag) override { return tag == merge::detail::tag_of<RowVector<float>>() ? &row : nullptr; }
  void initialize(double factor, Rng&) override { row.setConstant(static_cast<float>(factor)); }
  void visit(TensorVisitor<float>& visitor, const ParameterName& prefix) override { visitor(prefix + "row", row); }
};

using Number = AnyLayer<HeldNumber>;

static_assert(std::is_nothrow_move_constructible_v<Number> && std::is_nothrow_move_assignable_v<Number>);
static_assert(!std::is_convertible_v<Number, bool>);

TEST_CASE("a layer of any kind is found, copied deeply, initialised and visited", "[any_layer]") {
  Number number(std::make_unique<HeldRow>());
  Rng rng(1);
  number.initialize(3, rng);
  REQUIRE(static_cast<bool>(number));
  REQUIRE(number.target<One>() == nullptr);
  REQUIRE((*number.target<RowVector<float>>())(1) == 3);
  const Number copy = number;
  Number assigned;
  assigned = number;
  number.initialize(4, rng);
  REQUIRE((*copy.target<RowVector<float>>())(1) == 3);
  REQUIRE((*assigned.target<RowVector<float>>())(1) == 3);
  const Number& same = number;
  number = same;
  float sum = 0;
  number.visit([&](const ParameterName&, auto& tensor) { sum += tensor.sum(); }, "");
  REQUIRE(sum == 8);
  const Number moved = std::move(number);
  REQUIRE((*moved.target<RowVector<float>>())(0) == 4);
  assigned = Number();
  REQUIRE_FALSE(static_cast<bool>(assigned));
}

TEST_CASE("where there is no layer, nothing is found, and an error says so in the words of its kind", "[any_layer]") {
  Number none;
  const Number copy = none;
  Rng rng(1);
  REQUIRE_FALSE(static_cast<bool>(copy));
  REQUIRE(copy.target<RowVector<float>>() == nullptr);
  REQUIRE(testing::argument_error([&] { none.initialize(1, rng); }) ==
          "Number: initialize: got no number, expected one that holds something");
  REQUIRE(testing::argument_error([&] { none.visit([](const ParameterName&, auto&) {}, ""); }) ==
          "Number: visit: got no number, expected one that holds something");
}

TEST_CASE("types are told apart by their tags", "[any_layer]") {
  REQUIRE(merge::detail::tag_of<One>() == merge::detail::tag_of<One>());
  REQUIRE(merge::detail::tag_of<One>() != merge::detail::tag_of<Other>());
}

TEST_CASE("the cache of any layer is made once, copied deeply and made anew for another layer", "[any_layer]") {
  Owner::Cache cache;
  REQUIRE(cache.target<One>() == nullptr);
  REQUIRE(Owner::call<One>(cache) == 1);
  const One::Cache* made = cache.target<One>();
  REQUIRE(Owner::call<One>(cache) == 2);
  REQUIRE(cache.target<One>() == made);
  REQUIRE(cache.target<Other>() == nullptr);
  const Owner::Cache copy = cache;
  Owner::Cache assigned;
  assigned = cache;
  REQUIRE(Owner::call<One>(cache) == 3);
  REQUIRE(copy.target<One>()->calls == 2);
  REQUIRE(assigned.target<One>()->calls == 2);
  REQUIRE(Owner::call<Other>(cache) == 1);
  REQUIRE(cache.target<One>() == nullptr);
  const Owner::Cache moved = std::move(cache);
  REQUIRE(moved.target<Other>()->calls == 1);
}

TEST_CASE("a visitor of any type is met by way of one that is known", "[any_layer]") {
  std::string seen;
  auto visitor = [&](const std::string& name, auto& tensor) { seen += name + std::to_string(tensor.size()) + " "; };
  merge::detail::PassingVisitor<float, decltype(visitor)> passing(visitor);
  TensorVisitor<float>& known = passing;
  Matrix<float> matrix = Matrix<float>::Zero(2, 3);
  RowVector<float> row = RowVector<float>::Zero(5);
  ConvolutionWeight<float> convolution;
  convolution = Matrix<float>::Zero(1, 4);
  known("m", matrix);
  known("r", row);
  known("c", convolution);
  nn::Weight<float> weight(2, 2, nn::Weights::zeros);
  known.absent(weight, "w");
  REQUIRE(seen == "m6 r5 c4 w4 ");
}

}  // namespace any_layer_test
