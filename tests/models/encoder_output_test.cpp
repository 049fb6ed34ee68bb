#include <merganser/models/encoder_output.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace merganser::models {
namespace encoder_output_test {

TEST_CASE("mark_ids marks every place of an id") {
  const Vector<TokenId> ids{4, 0, 7, 0};
  CHECK(mark_ids(ids, 0) == Vector<std::uint8_t>{0, 1, 0, 1});
  CHECK(mark_ids(ids, 7) == Vector<std::uint8_t>{0, 0, 1, 0});
}

TEST_CASE("mark_ids gives nothing where the id does not occur") {
  const Vector<TokenId> ids{4, 7};
  CHECK(mark_ids(ids, 0).empty());
  CHECK(mark_ids({}, 0).empty());
}

TEST_CASE("an empty output has no survivors, reports or rates") {
  const EncoderOutput<float> output;
  CHECK(output.hidden.total() == 0);
  CHECK(output.origin.empty());
  CHECK(output.group.empty());
  CHECK(output.reports.empty());
  CHECK(output.deletion.deletion_rate() == 0.0);
}

TEST_CASE("only survivors that were alive stay alive") {
  Vector<std::uint8_t> alive{1, 0, 1, 1};
  keep_only(Vector<Index>{0, 1, 3}, alive);
  CHECK(alive == Vector<std::uint8_t>{1, 0, 0, 1});
  keep_only({}, alive);
  CHECK(alive == Vector<std::uint8_t>{0, 0, 0, 0});
}

TEST_CASE("an empty gradient is 0") {
  Vector<double> sum;
  add_gradient<double>({}, sum);
  CHECK(sum.empty());
  add_gradient<double>(Vector<double>{1, 2}, sum);
  CHECK(sum == Vector<double>{1, 2});
  add_gradient<double>({}, sum);
  add_gradient<double>(Vector<double>{3, -1}, sum);
  CHECK(sum == Vector<double>{4, 1});
}

TEST_CASE("self-attention looks at the state that it is given") {
  auto state = merge::TokenState<float>::start(SequenceOffsets::from_lengths(Vector<Index>{2, 1}), {0, 4, 1});
  nn::DistanceBias<float> bias;
  const std::optional<double> limit = 5.0;
  const auto bare = self_attention_context(state, bias, std::nullopt);
  CHECK(bare.queries == state.offsets.ranges());
  CHECK(bare.keys == bare.queries);
  CHECK(bare.key_positions[1] == 4);
  CHECK(bare.position_bias == nullptr);
  CHECK(bare.key_bias.empty());
  CHECK(bare.hidden_keys.empty());
  CHECK(bare.excess_limit == nullptr);
  bias.values.setZero(1, 3);
  state.key_bias = {0, -1, 0};
  state.hidden = {0, 0, 1};
  const auto full = self_attention_context(state, bias, limit);
  CHECK(full.position_bias == &bias);
  CHECK(full.key_bias[1] == -1.0F);
  CHECK(full.hidden_keys[2] == 1);
  CHECK(*full.excess_limit == 5.0);
}

TEST_CASE("the parts of an input are as long as its batch") {
  const Vector<TokenId> ids{7, 4, 5};
  EncoderInput<float> input{{Matrix<float>::Zero(3, 2), SequenceOffsets::single(3)}, ids};
  const auto error = [&](Index width) { return testing::argument_error([&] { check_input("here", input, width); }); };
  CHECK(error(2) == "nothing thrown");
  CHECK(error(3) == "here: embedded.values.cols(): got 2, expected 3");
  const Vector<std::uint8_t> marks(2, 1);
  input.forced = marks;
  CHECK(error(2) == "here: forced.size(): got 2, expected 3");
  input.forced = {};
  input.ids = input.ids.first(1);
  CHECK(error(2) == "here: ids.size(): got 1, expected 3");
}

}  // namespace encoder_output_test
}  // namespace merganser::models
