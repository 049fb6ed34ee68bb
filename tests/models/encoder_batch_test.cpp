#include <merganser/models/encoder_batch.hpp>

#include <vector>

#include "support/catch.hpp"

namespace merganser::models {
namespace {

TEST_CASE("mark_ids marks every place of an id") {
  const std::vector<TokenId> ids{4, 0, 7, 0};
  CHECK(mark_ids(ids, 0) == std::vector<std::uint8_t>{0, 1, 0, 1});
  CHECK(mark_ids(ids, 7) == std::vector<std::uint8_t>{0, 0, 1, 0});
}

TEST_CASE("mark_ids gives nothing where the id does not occur") {
  const std::vector<TokenId> ids{4, 7};
  CHECK(mark_ids(ids, 0).empty());
  CHECK(mark_ids({}, 0).empty());
}

TEST_CASE("an empty output has no survivors, reports or rates") {
  const EncoderOutput<float> output;
  CHECK(output.hidden.total() == 0);
  CHECK(output.kept.empty());
  CHECK(output.gates.empty());
  CHECK(output.deletion.deletion_rate() == 0.0);
}

}  // namespace
}  // namespace merganser::models
