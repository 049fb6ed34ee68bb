#include <merganser/nn/packed_keys.hpp>

#include <stdexcept>
#include <utility>

#include <merganser/nn/multi_head_attention.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace packed_keys_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("attention reads packed keys to the same bits", "[PackedKeys]", float, double) {
  Rng rng(1);
  for (const Index head_width : {1, 5, 16, 32, 64}) {
    typename MultiHeadAttention<TestType>::Config config;
    config.width = 12;
    config.heads = 3;
    config.head_width = head_width;
    MultiHeadAttention<TestType> layer(config);
    layer.initialize(1.0, rng);
    const Vector<RowRange> keys = {{0, 7}, {7, 0}, {7, 300}, {307, 1}, {310, 33}};
    for (const Index each : {1, 2, 14}) {  // queries of each sequence
      const auto x = random_matrix<TestType>(5 * each, 12, rng), memory = random_matrix<TestType>(350, 12, rng);
      AttentionContext<TestType> context;
      for (Index n = 0; n < 5; ++n) context.queries.push_back({n * each, each});
      context.keys = keys;
      KeyValues<TestType> key_values = layer.project(memory);
      const Matrix<TestType> plain = layer.attend(x, key_values, context);
      key_values.packed = PackedKeys<TestType>(key_values.keys, 3, keys);
      const Matrix<TestType> keys_before = key_values.keys;
      key_values.keys.setConstant(77);  // packed keys are read, not these
      CAPTURE(head_width, each);
      REQUIRE(identical(layer.attend(x, key_values, context), plain));
      context.keys[2].length = 299;  // other rows than were packed
      key_values.keys = keys_before;
      const Matrix<TestType> shorter = layer.attend(x, key_values, context);
      key_values.packed = {};
      REQUIRE(identical(layer.attend(x, key_values, context), shorter));
    }
  }
}

TEST_CASE("packed keys are found by their rows alone, in any order", "[PackedKeys]") {
  Rng rng(2);
  const auto keys = random_matrix<float>(9, 4, rng);
  const Vector<RowRange> ranges = {{5, 4}, {0, 2}, {2, 0}, {2, 3}};
  const PackedKeys<float> packed(keys, 2, ranges);
  for (const RowRange& range : ranges)
    for (const Index head : {0, 1}) {
      const float* found = packed.find(range, head);
      if (range.length == 0) {
        REQUIRE(found == nullptr);
        continue;
      }
      REQUIRE(found != nullptr);
      REQUIRE(found[0] == keys(range.begin, 2 * head));
      REQUIRE(found[1] == keys(range.begin + 1, 2 * head));
    }
  REQUIRE(packed.find({5, 3}, 0) == nullptr);
  REQUIRE(packed.find({9, 1}, 0) == nullptr);
  const PackedKeys<float> nothing;
  REQUIRE(nothing.find({0, 2}, 0) == nullptr);
  REQUIRE_THROWS_AS(PackedKeys<float>(keys, 3, ranges), std::invalid_argument);
  REQUIRE_THROWS_AS(PackedKeys<float>(keys, 0, ranges), std::invalid_argument);
  REQUIRE_THROWS_AS(PackedKeys<float>(keys, 2, Vector<RowRange>{{5, 5}}), std::invalid_argument);
}

template <class Packed>
concept Finds = requires(Packed&& packed) {
  std::forward<Packed>(packed).find({}, 0);
};

TEST_CASE("packed keys of other heads are refused, and a temporary hands out none", "[PackedKeys]") {
  const MultiHeadAttention<float> layer({4, 2, 3, SoftmaxKind::softmax, {}});
  const Matrix<float> memory = Matrix<float>::Ones(5, 4);
  AttentionContext<float> context;
  context.queries = context.keys = {{0, 5}};
  KeyValues<float> key_values = layer.project(memory);
  key_values.packed = PackedKeys<float>(key_values.keys, 3, context.keys);
  REQUIRE(argument_error([&] { layer.attend(memory, key_values, context); }) ==
          "MultiHeadAttention: packed keys: got heads of another layer, expected heads of this one");
  key_values.packed = {};
  key_values.values.resize(4, 6);
  REQUIRE(argument_error([&] { layer.attend(memory, key_values, context); }) ==
          "MultiHeadAttention: values: got 4 x 6, expected 5 x 6");
  static_assert(Finds<const PackedKeys<float>&> && !Finds<PackedKeys<float>>);
}

}  // namespace packed_keys_test
