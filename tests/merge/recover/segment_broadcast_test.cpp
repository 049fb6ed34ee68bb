#include <merganser/merge/recover/segment_broadcast.hpp>

#include <utility>

#include <merganser/merge/policies/boundary_pooling.hpp>
#include <merganser/merge/policies/byte_boundaries.hpp>
#include <merganser/merge/policies/funnel_pooling.hpp>
#include <merganser/merge/policies/segment_pooling.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/recovery_laws.hpp"

namespace segment_broadcast_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;
using Broadcast = SegmentBroadcast<double>;

/// Tokens of given groups that became rows 1, 2, ... of one column.
struct Reduced1 {
  Matrix<double> x, y;
  TokenState<double> state;
  Reduction<double> reduction;

  Reduced1(const Rows& lengths, const Rows& rows, const Rows& groups) {
    const SequenceOffsets offsets = SequenceOffsets::from_lengths(lengths);
    state = TokenState<double>::start(offsets, counting_positions(offsets));
    x = Matrix<double>::Zero(offsets.total(), 1);
    reduction.state.offsets = SequenceOffsets::from_lengths(rows);
    reduction.report.group = groups;
    y.resize(reduction.state.total(), 1);
    for (Index row = 0; row < y.rows(); ++row) y(row, 0) = static_cast<double>(row + 1);
  }

  Rows taken(const Broadcast::Config& config) const {
    const Matrix<double> back = Broadcast(config).forward(y, {x, state, reduction});
    Rows rows;
    for (Index t = 0; t < back.rows(); ++t) rows.push_back(static_cast<Index>(back(t, 0)) - 1);
    return rows;
  }
};

/// Means of three tokens; what is behind the last whole segment is dropped.
struct WholeThrees {
  static constexpr PolicyTraits traits{.is_causal = true};

  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    return FunnelPooling{.rate = 3, .last_group = FunnelPooling::LastGroup::dropped}.plan(tokens);
  }
};

/// There and back: the beginning of a sequence comes back as it does in the whole.
void require_prefixes(const Policy<double>& policy, const Broadcast& recovery) {
  const PolicyBatch<double> all({40}, 4);
  const DeletionOptions options;
  const auto there_and_back = [&](const PolicyBatch<double>& tokens) {
    const Reduction<double> reduction = policy.forward(tokens.x, tokens.context(options));
    return recovery.forward(reduction.x, {tokens.x, tokens.state, reduction});
  };
  const Matrix<double> whole = there_and_back(all);
  for (Index n = 0; n < 40; ++n) {
    PolicyBatch<double> front = all;
    front.x = all.x.topRows(n);
    front.ids.resize(n);
    front.state = TokenState<double>::start(
        SequenceOffsets::single(n), Vector<Position>(all.state.positions.begin(), all.state.positions.begin() + n));
    CAPTURE(n);
    REQUIRE(identical(there_and_back(front), Matrix<double>(whole.topRows(n))));
  }
}

TEST_CASE("tokens take their own rows, those in front, or those that have ended", "[SegmentBroadcast]") {
  // Two sequences: segments of 2, 3, 1 tokens and one that is dropped; segments of 1 and 2.
  const Reduced1 batch({8, 3}, {3, 2}, {0, 0, 1, 1, 1, 2, -1, -1, /**/ 3, 4, 4});
  REQUIRE(batch.taken({.row = Broadcast::Row::own}) == Rows{0, 0, 1, 1, 1, 2, -1, -1, /**/ 3, 4, 4});
  REQUIRE(batch.taken({.row = Broadcast::Row::in_front}) == Rows{-1, -1, 0, 0, 0, 1, 2, 2, /**/ -1, 3, 3});
  REQUIRE(batch.taken({.row = Broadcast::Row::ended}) == Rows{-1, 0, 0, 0, 1, 2, 2, 2, /**/ 3, 3, 4});
}

TEST_CASE("a row without members stands in front of all segments", "[SegmentBroadcast]") {
  const Reduced1 batch({4, 2}, {3, 1}, {1, 1, 2, -1, /**/ -1, -1});
  REQUIRE(batch.taken({.row = Broadcast::Row::own}) == Rows{1, 1, 2, -1, -1, -1});
  REQUIRE(batch.taken({.row = Broadcast::Row::in_front}) == Rows{0, 0, 1, 2, 3, 3});
  REQUIRE(batch.taken({.row = Broadcast::Row::ended}) == Rows{0, 1, 2, 2, 3, 3});
}

TEST_CASE("where nothing moved every token takes its own row, and pads are 0", "[SegmentBroadcast]") {
  Reduced1 batch({3}, {3}, {});
  REQUIRE(batch.taken({}) == Rows{0, 1, 2});
  batch.state.hidden = {0, 0, 1};
  REQUIRE(batch.taken({}) == Rows{0, 1, -1});
}

TEST_CASE("broadcasting rows keeps the laws of recoveries", "[SegmentBroadcast]") {
  for (const Index row : {0, 1, 2}) {
    const auto make = [&]<Real Scalar>() {
      using Row = typename SegmentBroadcast<Scalar>::Row;
      return Recovery<Scalar>(SegmentBroadcast<Scalar>({.row = static_cast<Row>(row), .ends_known = true}));
    };
    RecoveryLaws laws;
    laws.back_width = 4;
    laws.returns_alone = row == 0;
    require_recovery_laws(make, std::as_const(laws));
    laws.returns_alone = false;  // only a last token may be alone
    require_recovery_laws(
        make, []<Real Scalar>() { return Policy<Scalar>(WholeThrees{}); }, laws);
    require_recovery_laws(
        make, []<Real Scalar>() { return Policy<Scalar>(RunsOfTokens{.is_causal = true}); }, laws);
  }
}

TEST_CASE("the published dynamic pooling comes back without looking ahead", "[SegmentBroadcast]") {
  BoundaryPooling<double> pooling(
      {.width = 4, .hidden = 6, .last_token = LastToken::free, .open_group = OpenGroup::dropped, .null_group = true});
  Rng rng(1);
  randomise(pooling, rng);
  require_prefixes(pooling, Broadcast({.row = Broadcast::Row::ended, .ends_known = true}));
}

TEST_CASE("segments of a causal rule come back shifted without looking ahead", "[SegmentBroadcast]") {
  const SpaceLike rule{.space_like = {{0, 1, 0, 0, 1}}};
  const Broadcast shifted({.row = Broadcast::Row::in_front});
  for (const SegmentPool pool : {SegmentPool::mean, SegmentPool::largest, SegmentPool::first})
    require_prefixes(SegmentPooling<SpaceLike>{rule, pool}, shifted);
  require_prefixes(SegmentPooling<FixedStride>{{3}}, shifted);
}

TEST_CASE("only shifted rows are causal, and those that have ended where the end is known", "[SegmentBroadcast]") {
  using Row = Broadcast::Row;
  REQUIRE_FALSE(Broadcast().is_causal());
  REQUIRE_FALSE(Broadcast({Row::own, true}).is_causal());
  REQUIRE(Broadcast({.row = Row::in_front}).is_causal());
  REQUIRE_FALSE(Broadcast({.row = Row::ended}).is_causal());
  REQUIRE(Broadcast({.row = Row::ended, .ends_known = true}).is_causal());
}

TEST_CASE("rows and gradients that a broadcast does not fit are named", "[SegmentBroadcast]") {
  Reduced1 batch({3}, {2}, {0, 1, 1});
  const Matrix<double> three = Matrix<double>::Zero(3, 1);
  REQUIRE(argument_error([&] {
            Broadcast().forward(three, {batch.x, batch.state, batch.reduction});
          }) == "SegmentBroadcast::forward: y.rows(): got 3, expected 2");
  Broadcast::Cache cache;
  Broadcast gradients;
  Broadcast().forward(batch.y, {batch.x, batch.state, batch.reduction}, cache);
  REQUIRE(argument_error([&] { Broadcast().backward(batch.y, cache, gradients); }) ==
          "SegmentBroadcast::backward: grad.rows(): got 2, expected 3");
  batch.reduction.report.group = {0, 1};
  REQUIRE(argument_error([&] { batch.taken({}); }) ==
          "SegmentBroadcast::forward: report.group.size(): got 2, expected 3");
  batch.reduction.report.group = {0, 1, 2};
  REQUIRE(argument_error([&] { batch.taken({}); }) ==
          "SegmentBroadcast::forward: report.group: got 2, expected rows of the reduction");
}

}  // namespace segment_broadcast_test
