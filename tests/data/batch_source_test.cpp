#include <merganser/data/batch_source.hpp>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

namespace batch_source_test {

using namespace merganser;
using namespace merganser::data;

std::vector<Example> examples(int count) {
  std::vector<Example> made;
  for (int i = 0; i < count; ++i) made.push_back({{i, i}, {i}});
  return made;
}

std::vector<TokenId> ids_of(BatchSource& source, int batches) {
  std::vector<TokenId> ids;
  for (int b = 0; b < batches; ++b) {
    const Batch batch = source();
    ids.insert(ids.end(), batch.target.ids.begin(), batch.target.ids.end());
  }
  return ids;
}

TEST_CASE("every epoch has every example once, in another order", "[batch_source]") {
  BatchSource source = epochs_of(examples(10), 4, 1);
  std::vector<TokenId> first = ids_of(source, 3), second = ids_of(source, 3);
  REQUIRE(first != second);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  REQUIRE(first == second);
  REQUIRE(first == std::vector<TokenId>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("a copy goes on by itself, a cursor with the next batch", "[batch_source]") {
  BatchSource source = epochs_of(examples(10), 3, 5);
  ids_of(source, 6);
  const DataCursor cursor = source.cursor;
  BatchSource copy = source;
  const std::vector<TokenId> rest = ids_of(source, 9);
  REQUIRE(ids_of(copy, 9) == rest);
  BatchSource resumed = epochs_of(examples(10), 3, 5);
  resumed.cursor = cursor;
  REQUIRE(ids_of(resumed, 9) == rest);
}

TEST_CASE("a source of nothing is refused", "[batch_source]") {
  REQUIRE_THROWS_AS(epochs_of({}, 3, 1), std::invalid_argument);
  REQUIRE_THROWS_AS(epochs_of(examples(2), 0, 1), std::invalid_argument);
}

}  // namespace batch_source_test
