// The state of tokens: at the start, and behind plans.
#include <merganser/merge/token_state.hpp>

#include <cstdint>

#include "support/catch.hpp"

using namespace merganser;
using namespace merganser::merge;

namespace {

using Rows = Vector<Index>;

}  // namespace

TEST_CASE("at the start every token comes from its own row and nothing is marked", "[token_state]") {
  const auto state = TokenState<float>::start(SequenceOffsets::from_lengths(Rows{2, 1}), {4, 5, 0});
  CHECK(state.total() == 3);
  CHECK(state.positions == Vector<Position>{4, 5, 0});
  CHECK(state.origin == Rows{0, 1, 2});
  CHECK(state.key_bias.empty());
  CHECK(state.hidden.empty());
  CHECK(state.forced.empty());
  CHECK(state.deleted.empty());
}

TEST_CASE("behind plans a row has what its representative had", "[token_state]") {
  auto state = TokenState<double>::start(SequenceOffsets::from_lengths(Rows{3, 2}), {7, 8, 9, 0, 1});
  state.key_bias = {-1, -2, -3, -4, -5};
  state.forced = {0, 0, 1, 0, 1};
  state.deleted = {1, 0, 0, 0, 1};
  MergePlan<double> pair(2);
  pair.open(1);
  pair.add(0, 0.5);
  pair.add(1, 0.5);
  const Compaction<double> compaction({MergePlan<double>::keeping(Rows{0, 2}, 3), pair}, state.offsets);
  const TokenState<double> after = state.merged(compaction);
  CHECK(after.offsets == SequenceOffsets::from_lengths(Rows{2, 1}));
  CHECK(after.positions == Vector<Position>{7, 9, 1});
  CHECK(after.origin == Rows{0, 2, 4});
  CHECK(after.key_bias == Vector<double>{-1, -3, -5});
  CHECK(after.hidden.empty());
  CHECK(after.forced == Vector<std::uint8_t>{0, 1, 1});
  CHECK(after.deleted == Vector<std::uint8_t>{1, 0, 1});
}
