// What values of any kind of layer share: tags of types, caches, and visitors that pass on.
#include <merganser/merge/any_layer.hpp>

#include <string>
#include <utility>

#include "support/catch.hpp"

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
