#include <merganser/training/batch_share.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace batch_share_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;

/// Three sources, of which one is all pads; 3 labels count.
data::Batch batch_of_three() {
  data::Batch batch;
  batch.source = TokenBatch::from_sequences({{0, 5, 6}, {0, 0}, {7}});
  batch.target = TokenBatch::from_sequences({{1, ignored_label}, {0}, {4}});
  return batch;
}

TEST_CASE("an extent leaves out ignored labels and pads", "[BatchShare]") {
  REQUIRE(BatchExtent::of(batch_of_three(), 0) == BatchExtent{3, 3, 2});
  REQUIRE(BatchExtent::of(batch_of_three(), std::nullopt) == BatchExtent{3, 6, 3});
  REQUIRE(BatchExtent::of({}, 0) == BatchExtent{});
  data::Batch broken = batch_of_three();
  broken.source.ids.pop_back();
  REQUIRE(argument_error([&] { BatchExtent::of(broken, 0); }) ==
          "BatchExtent: batch.source.ids.size(): got 5, expected 6");
}

TEST_CASE("each mean of the objective has its own share", "[BatchShare]") {
  BatchExtent whole{2, 5, 0};
  whole += {6, 5, 0};
  const BatchShare share = BatchExtent{2, 5, 0}.share_of(whole);
  REQUIRE(share.labels == 0.25);
  REQUIRE(share.tokens == 0.5);
  REQUIRE(share.sequences == 0);  // of nothing
  REQUIRE(whole.share_of(whole).labels == 1.0);
}

}  // namespace batch_share_test
