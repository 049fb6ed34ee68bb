// The state of tokens: at the start, and behind plans.
#include <merganser/merge/token_state.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace token_state_test {

using namespace merganser;
using namespace merganser::merge;

using Rows = Vector<Index>;

TEST_CASE("at the start every token comes from its own row and nothing is marked", "[token_state]") {
  const auto state = TokenState<float>::start(SequenceOffsets::from_lengths(Rows{2, 1}), {4, 5, 0});
  CHECK(state.total() == 3);
  CHECK(state.positions == Vector<Position>{4, 5, 0});
  CHECK(state.origin == Rows{0, 1, 2});
  CHECK(state.key_bias.empty());
  CHECK(state.hidden.empty());
  CHECK(state.forced.empty());
  CHECK(state.deleted.empty());
  CHECK(state.sizes.empty());
}

TEST_CASE("behind plans a row stands where its representative stood", "[token_state]") {
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
  CHECK(after.key_bias[0] == -1);  // of a row of one token its own
  CHECK(after.key_bias[1] == -3);
  CHECK(after.hidden.empty());
  CHECK(after.forced == Vector<std::uint8_t>{0, 1, 1});
  CHECK(after.deleted == Vector<std::uint8_t>{1, 0, 1});
}

using State = TokenState<double>;
using Values = Vector<double>;

/// Sequences of 4, 0 and 2 tokens: tokens 0 and 1 become a row that stands at 1, 2 goes, 3 stays; then both are one.
Compaction<double> pairs() {
  MergePlan<double> first(4), last(2);
  first.open(1);
  first.add(0, 0.5);
  first.add(1, 0.5);
  first.keep(3);
  last.open(0);
  last.add(0);
  last.add(1, 0.25);
  return {{first, {}, last}, SequenceOffsets::from_lengths(Rows{4, 0, 2})};
}

State plain() { return State::start(SequenceOffsets::from_lengths(Rows{4, 0, 2}), {0, 1, 2, 3, 0, 1}); }

void check_near(const Values& got, const Values& expected) {
  REQUIRE(got.size() == expected.size());
  for (Index i = 0; i < got.size(); ++i) CHECK_THAT(got[i], Catch::Matchers::WithinAbs(expected[i], 1e-14));
}

TEST_CASE("sizes add up, whatever the weights", "[token_state]") {
  State state = plain();
  CHECK(state.merged(pairs()).sizes == Values{2, 1, 2});
  state.sizes = {3, 1, 5, 2, 1, 4};
  CHECK(state.merged(pairs()).sizes == Values{4, 2, 5});
  const Compaction<double> kept({MergePlan<double>::keeping(Rows{0, 2}, 4), {}, MergePlan<double>::keeping(Rows{1}, 2)},
                                state.offsets);
  CHECK(state.merged(kept).sizes == Values{3, 5, 4});
  CHECK(plain().merged(kept).sizes.empty());  // where nothing was merged, all are one
}

TEST_CASE("without a size bias a row weighs as the mean of its tokens", "[token_state]") {
  State state = plain();
  CHECK(state.merged(pairs()).key_bias.empty());
  state.key_bias = {-1, -2, 7, -3, 0.5, 0.5};
  check_near(state.merged(pairs()).key_bias, {std::log((std::exp(-1) + std::exp(-2)) / 2), -3, 0.5});
  state.sizes = {3, 1, 5, 2, 1, 4};
  check_near(state.merged(pairs()).key_bias, {std::log((3 * std::exp(-1) + std::exp(-2)) / 4), -3, 0.5});
}

TEST_CASE("with a size bias a row weighs as its tokens together", "[token_state]") {
  State state = plain();
  check_near(state.merged(pairs(), SizeBias::log_size).key_bias, {std::log(2), 0, std::log(2)});
  state.key_bias = {-1, -2, 7, -3, 0.5, 0.5};
  check_near(state.merged(pairs(), SizeBias::log_size).key_bias,
             {std::log(std::exp(-1) + std::exp(-2)), -3, 0.5 + std::log(2)});
}

TEST_CASE("of merges one after another the bias is the log of the size, in whatever order", "[token_state]") {
  // ((0 1) 2) 3, with representatives in front and behind, against all four at once.
  for (const bool in_front : {true, false}) {
    State state = State::start(SequenceOffsets::single(4), {0, 1, 2, 3});
    for (Index left = 4; left > 1; --left) {
      MergePlan<double> plan(left);
      plan.open(in_front ? 0 : 1);
      plan.add(0);
      plan.add(1);
      for (Index t = 2; t < left; ++t) plan.keep(t);
      state = state.merged(Compaction<double>({plan}, state.offsets), SizeBias::log_size);
      CHECK_THAT(state.key_bias[0], Catch::Matchers::WithinAbs(std::log(state.sizes[0]), 1e-14));
    }
    CHECK(state.sizes == Values{4});
  }
  // Where gates said something as well, it is the log of the sum of all weights.
  State state = plain();
  state.key_bias = {-1, -2, 7, -3, 0.5, -0.5};
  const State once = state.merged(pairs(), SizeBias::log_size);
  MergePlan<double> both(2);
  both.open(0);
  both.add(0);
  both.add(1);
  const Compaction<double> again({both, {}, MergePlan<double>::keeping(Rows{0}, 1)}, once.offsets);
  check_near(once.merged(again, SizeBias::log_size).key_bias,
             {std::log(std::exp(-1) + std::exp(-2) + std::exp(-3)), std::log(std::exp(0.5) + std::exp(-0.5))});
}

TEST_CASE("the gradient of a merged key bias agrees with finite differences", "[token_state]") {
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
    for (const bool sized : {false, true}) {
      State state = plain();
      state.key_bias = {-1, -2, 7, -3, 0.5, -0.5};
      if (sized) state.sizes = {3, 1, 5, 2, 1, 4};
      // Soft clusters and a row without members, too.
      MergePlan<double> first(4), last = pairs().plan(2);
      first.open(0);
      first.add(0);
      first.add(1, 0.5);
      first.add(3, 0.1);
      first.open(1);
      first.add(1, 0.5);
      first.add(2);
      first.open(2);
      last.open(1);
      const Compaction<double> compaction({first, {}, last}, state.offsets);
      const Values probe = {0.5, -1.5, 2, 1, -3};
      Values grad = state.merged_bias_backward(compaction, probe, size_bias);
      CAPTURE(static_cast<int>(size_bias), sized);
      merganser::testing::require_gradients(
          [&] {
            const Values bias = state.merged(compaction, size_bias).key_bias;
            double sum = 0;
            for (Index row = 0; row < bias.size(); ++row) sum += probe[row] * bias[row];
            return sum;
          },
          {{"bias", state.key_bias.data(), 1, 6, true}}, {{"bias", grad.data(), 1, 6, true}});
    }
}

TEST_CASE("where there was no key bias, or no gradient, none comes back", "[token_state]") {
  State state = plain();
  CHECK(state.merged_bias_backward(pairs(), Values{1, 2, 3}, SizeBias::log_size).empty());
  state.key_bias.assign(6, 0.0);
  CHECK(state.merged_bias_backward(pairs(), {}).empty());
  CHECK(state.merged_bias_backward(pairs(), Values{1, 2, 3}) == Values{0.5, 0.5, 0, 2, 1.5, 1.5});
}

TEST_CASE("keys that nobody hears merge to one that nobody hears, without a gradient that is no number",
          "[token_state]") {
  State state = plain();
  const double silent = -std::numeric_limits<double>::infinity();
  state.key_bias = {silent, silent, 0, 0, silent, 1};
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size}) {
    const Values bias = state.merged(pairs(), size_bias).key_bias;
    CHECK(bias[0] == silent);
    CHECK_THAT(bias[2], Catch::Matchers::WithinAbs(size_bias == SizeBias::none ? 1 - std::log(2) : 1, 1e-14));
    CHECK(state.merged_bias_backward(pairs(), Values{1, 2, 3}, size_bias) == Values{0, 0, 0, 2, 0, 3});
  }
}

TEST_CASE("pads are what is hidden or forced", "[token_state]") {
  State state = plain();
  CHECK(state.pads().empty());
  state.forced = {0, 1, 0, 0, 0, 7};
  CHECK(state.pads() == Vector<std::uint8_t>{0, 1, 0, 0, 0, 1});
  state.hidden = {1, 0, 0, 0, 0, 1};
  CHECK(state.pads() == Vector<std::uint8_t>{1, 1, 0, 0, 0, 1});
  const State without = std::move(state).without_pads();
  CHECK(without.pads().empty());
  CHECK(without.hidden.empty());
  CHECK(without.forced.empty());
  CHECK(without.total() == 6);
}

TEST_CASE("sizes that a plan counts in its own way", "[token_state]") {
  auto state = TokenState<double>::start(SequenceOffsets::from_lengths(Rows{3, 2}), {0, 1, 2, 0, 1});
  state.sizes = {1, 2, 1, 3, 1};
  MergePlan<double> shared(3), pair(2);
  shared.keep(0);
  shared.open(1);  // token 1 is a part of two rows
  shared.add(1, 0.5);
  shared.open(1);
  shared.add(1, 0.5);
  shared.add(2, 0.5);
  shared.set_sizes({1, 0.5, 2.5});
  pair.open(0);
  pair.add(0, 0.75);
  pair.add(1, 0.25);
  const Compaction<double> compaction({shared, pair}, state.offsets);
  CHECK(state.merged(compaction).sizes == Vector<double>{1, 0.5, 2.5, 4});
  CHECK(state.merged(compaction).key_bias.empty());
  // They weigh by size from the beginning: as if the bias so far were the log of the sizes.
  for (const double size : state.sizes) state.key_bias.push_back(std::log(size));
  const TokenState<double> after = state.merged(compaction, SizeBias::log_size);
  for (Index row = 0; row < after.total(); ++row)
    CHECK_THAT(after.key_bias[row], Catch::Matchers::WithinAbs(std::log(after.sizes[row]), 1e-14));
  MergePlan<double> copy(2);
  copy.keep(0);
  copy.set_sizes({0.25});
  const Compaction<double> copied({MergePlan<double>::keeping(Rows{0, 1, 2}, 3), copy}, state.offsets);
  CHECK(state.merged(copied).sizes == Vector<double>{1, 2, 1, 0.25});
}

}  // namespace token_state_test
