#include <merganser/data/data_cursor.hpp>

#include <cstdint>
#include <limits>
#include <vector>

#include <merganser/data/batcher.hpp>

#include "support/catch.hpp"

namespace data_cursor_test {

using namespace merganser;
using namespace merganser::data;

TEST_CASE("cursors are equal when all of them is", "[DataCursor]") {
  const DataCursor start;
  CHECK(start == DataCursor());
  DataCursor other;
  other.random.next();
  CHECK_FALSE(other == start);
  CHECK_FALSE(DataCursor{Rng(), 1, 0} == start);
  CHECK_FALSE(DataCursor{Rng(), 0, 1} == start);
  CHECK(DataCursor{Rng(7), std::numeric_limits<std::uint64_t>::max(), 3} ==
        DataCursor{Rng(7), std::numeric_limits<std::uint64_t>::max(), 3});
}

TEST_CASE("a cursor resumes batches of epochs", "[DataCursor]") {
  std::vector<Example> examples;
  for (TokenId id = 2; id < 13; ++id) examples.push_back({{id}, {id, 1}});
  LengthBucketedBatches straight(examples, {.batch_size = 3, .seed = 5});
  for (int i = 0; i < 9; ++i) straight.next();
  const DataCursor cursor{Rng(), straight.state().epoch, straight.state().position};
  LengthBucketedBatches resumed(examples, {.batch_size = 3, .seed = 5});
  resumed.resume({5, cursor.epoch, cursor.position});
  for (int i = 0; i < 9; ++i) CHECK(resumed.next() == straight.next());
}

}  // namespace data_cursor_test
