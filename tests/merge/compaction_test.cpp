// Compaction: rows together, rows back, gradients of both, for any plan.
#include <merganser/merge/compaction.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace compaction_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;

SequenceOffsets offsets_of(const Rows& lengths) { return SequenceOffsets::from_lengths(lengths); }

/// Any plan there is: tokens merged with weights, dropped, in several rows, rows without members.
template <Real Scalar>
MergePlan<Scalar> random_plan(Index n_in, Rng& rng) {
  MergePlan<Scalar> plan(n_in);
  const Index n_out = n_in == 0 ? 0 : static_cast<Index>(rng.below(static_cast<std::uint64_t>(n_in) + 2));
  for (Index row = 0; row < n_out; ++row) {
    plan.open(static_cast<Index>(rng.below(static_cast<std::uint64_t>(n_in))));
    for (Index token = 0; token < n_in; ++token)
      if (rng.bernoulli(0.3)) plan.add(token, static_cast<Scalar>(static_cast<float>(rng.normal())));
  }
  return plan;
}

template <Real Scalar>
struct Setup {
  SequenceOffsets input = offsets_of({3, 1, 0, 7, 2});
  Vector<MergePlan<Scalar>> plans;
  Matrix<Scalar> x;

  explicit Setup(std::uint64_t seed, Index width = 5) {
    Rng rng(seed);
    for (Index i = 0; i < input.count(); ++i) plans.push_back(random_plan<Scalar>(input.length(i), rng));
    x = random_matrix<Scalar>(input.total(), width, rng);
  }

  Compaction<Scalar> compaction() const { return {plans, input}; }

  Matrix<Scalar> probe() const {
    Rng rng(77);
    return random_matrix<Scalar>(compaction().output_offsets().total(), x.cols(), rng);
  }

  /// What the plans say, row by row.
  Matrix<Scalar> expected() const {
    Index total = 0;
    for (const auto& plan : plans) total += plan.output_count();
    Matrix<Scalar> y = Matrix<Scalar>::Zero(total, x.cols());
    Index out = 0;
    for (Index i = 0; i < input.count(); ++i) {
      const MergePlan<Scalar>& plan = plans[i];
      for (Index o = 0; o < plan.output_count(); ++o, ++out)
        for (const auto& [token, weight] : plan.members(o)) y.row(out) += weight * x.row(input.begin(i) + token);
    }
    return y;
  }
};

TEMPLATE_TEST_CASE("compaction is what the plans say", "[Compaction]", float, double) {
  bool merged = false, empty = false, shared = false;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Setup<TestType> s(seed);
    CAPTURE(seed);
    REQUIRE(relative_difference(s.compaction().compact(s.x), s.expected()) <= agreement<TestType>);
    for (const auto& plan : s.plans) {
      std::size_t members = 0;
      for (Index row = 0; row < plan.output_count(); ++row) {
        merged = merged || plan.members(row).size() > 1;
        empty = empty || plan.members(row).empty();
        members += plan.members(row).size();
      }
      const Rows groups = plan.groups();
      shared = shared || std::cmp_greater(members, groups.size() - std::count(groups.begin(), groups.end(), -1));
    }
  }
  REQUIRE(merged);
  REQUIRE(empty);
  REQUIRE(shared);
}

TEMPLATE_TEST_CASE("compact then expand restores the kept rows and leaves 0 for the dropped", "[Compaction]", float,
                   double) {
  const SequenceOffsets input = offsets_of({3, 1, 0, 7});
  const Vector<Rows> kept = {{1}, {0}, {}, {0, 2, 3, 6}};
  Vector<MergePlan<TestType>> plans;
  for (Index i = 0; i < kept.size(); ++i)
    plans.push_back(MergePlan<TestType>::keeping(kept[i], input.length(static_cast<Index>(i))));
  const Compaction<TestType> compaction(plans, input);
  Rng rng(1);
  const auto x = random_matrix<TestType>(11, 5, rng);
  const auto back = compaction.expand(compaction.compact(x));
  const Rows survivors = {1, 3, 4, 6, 7, 10};
  REQUIRE(compaction.representatives() == survivors);
  for (Index t = 0; t < 11; ++t) {
    const bool survives = std::find(survivors.begin(), survivors.end(), t) != survivors.end();
    const Matrix<TestType> row = survives ? Matrix<TestType>(x.row(t)) : Matrix<TestType>::Zero(1, 5);
    REQUIRE(identical(Matrix<TestType>(back.row(t)), row));
  }
}

TEST_CASE("two tokens become one, and both get it back", "[Compaction]") {
  MergePlan<double> plan(4);
  plan.open(1);
  plan.add(0, 0.25);
  plan.add(1, 0.75);
  plan.keep(3);
  const Compaction<double> compaction({plan}, SequenceOffsets::single(4));
  Matrix<double> x(4, 2), merged(2, 2), expanded(4, 2);
  x << 4, 8, 12, 16, 100, 200, 5, 6;
  merged << 10, 14, 5, 6;
  expanded << 10, 14, 10, 14, 0, 0, 5, 6;
  REQUIRE(identical(compaction.compact(x), merged));
  REQUIRE(identical(compaction.expand(merged), expanded));
  const Vector<std::string> names = {"a", "b", "c", "d"};
  REQUIRE(compaction.pick(std::span<const std::string>(names)) == Vector<std::string>{"b", "d"});
}

TEST_CASE("a token of several rows gets their mean back, by its weights in them", "[Compaction]") {
  MergePlan<double> plan(3);
  plan.open(0);
  plan.add(0);
  plan.add(1, 0.25);
  plan.open(1);
  plan.add(1, 0.75);
  plan.add(2);
  const Compaction<double> compaction({plan}, SequenceOffsets::single(3));
  Matrix<double> x(3, 1), merged(2, 1), expanded(3, 1);
  x << 1, 4, 7;
  merged << 2, 10;
  expanded << 2, 8, 10;
  REQUIRE(identical(compaction.compact(x), merged));
  REQUIRE(identical(compaction.expand(merged), expanded));
}

TEST_CASE("a row without members is 0, and has a place", "[Compaction]") {
  MergePlan<double> plan = MergePlan<double>::keeping(Rows{1}, 3);
  plan.open(0);
  plan.open(0);
  const Compaction<double> compaction({plan}, SequenceOffsets::single(3));
  Matrix<double> x(3, 1), y(3, 1), grad_y(3, 1), grad_x(3, 1);
  x << 5, 6, 7;
  y << 6, 0, 0;
  grad_y << 1, 10, 100;
  grad_x << 0, 1, 0;
  REQUIRE(identical(compaction.compact(x), y));
  REQUIRE(identical(compaction.compact_backward(grad_y), grad_x));
  REQUIRE(compaction.pick_backward(Vector<double>{1, 10, 100}) == Vector<double>{110, 1, 0});
  REQUIRE(compaction.expand(y)(0, 0) == 0);
}

TEMPLATE_TEST_CASE("the backward pass is the transpose of the forward pass", "[Compaction]", float, double) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Setup<TestType> s(seed);
    const auto compaction = s.compaction();
    const auto probe = s.probe();
    CAPTURE(seed);
    const double forward =
        (probe.template cast<double>().array() * compaction.compact(s.x).template cast<double>().array()).sum();
    const double backward =
        (compaction.compact_backward(probe).template cast<double>().array() * s.x.template cast<double>().array())
            .sum();
    REQUIRE_THAT(backward, Catch::Matchers::WithinAbs(forward, 100 * agreement<TestType>));

    Rng rng(seed);
    const auto values = random_values<TestType>(s.input.total(), rng);
    const auto grad = random_values<TestType>(compaction.output_offsets().total(), rng);
    const auto picked = compaction.pick(std::span<const TestType>(values));
    const auto grad_values = compaction.pick_backward(grad);
    double along = 0, back = 0;
    for (Index i = 0; i < picked.size(); ++i) along += static_cast<double>(picked[i]) * static_cast<double>(grad[i]);
    for (Index i = 0; i < values.size(); ++i)
      back += static_cast<double>(values[i]) * static_cast<double>(grad_values[i]);
    REQUIRE_THAT(back, Catch::Matchers::WithinAbs(along, 100 * agreement<TestType>));
  }
}

TEST_CASE("the gradient of compaction agrees with finite differences", "[Compaction]") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Setup<double> s(seed);
    const auto compaction = s.compaction();
    const Matrix<double> probe = s.probe();
    REQUIRE(probe.rows() > 0);
    Matrix<double> grad_x = compaction.compact_backward(probe);
    require_gradients([&] { return probe_sum(probe, compaction.compact(s.x)); }, {tensor_view("x", s.x)},
                      {tensor_view("x", grad_x)});
    Matrix<double> y = probe, grad_y = compaction.expand_backward(s.x);
    require_gradients([&] { return probe_sum(s.x, compaction.expand(y)); }, {tensor_view("y", y)},
                      {tensor_view("y", grad_y)});
  }
}

TEST_CASE("offsets and counts agree, and a batch is what its sequences are alone", "[Compaction]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Setup<double> s(seed);
    const auto compaction = s.compaction();
    const SequenceOffsets& output = compaction.output_offsets();
    REQUIRE(compaction.input_offsets() == s.input);
    REQUIRE(output.count() == s.input.count());
    REQUIRE(compaction.representatives().size() == output.total());
    const Matrix<double> y = compaction.compact(s.x);
    REQUIRE(y.rows() == output.total());
    for (Index i = 0; i < s.input.count(); ++i) {
      const auto& plan = s.plans[i];
      REQUIRE(compaction.plan(i) == plan);
      REQUIRE(output.length(i) == plan.output_count());
      const Compaction<double> alone({plan}, SequenceOffsets::single(s.input.length(i)));
      const Matrix<double> rows = s.x.middleRows(s.input.begin(i), s.input.length(i));
      REQUIRE(identical(alone.compact(rows), Matrix<double>(y.middleRows(output.begin(i), output.length(i)))));
    }
  }
}

TEST_CASE("compaction in float follows the one in double", "[Compaction]") {
  const Setup<float> single(4);
  const Setup<double> twice(4);
  require_float_follows_double([&] { return single.compaction().compact(single.x); },
                               [&] { return twice.compaction().compact(twice.x); });
  require_float_follows_double([&] { return single.compaction().compact_backward(single.probe()); },
                               [&] { return twice.compaction().compact_backward(twice.probe()); });
}

TEST_CASE("keeping everything changes nothing, keeping nothing leaves empty sequences", "[Compaction]") {
  const SequenceOffsets input = offsets_of({2, 0, 1});
  Rng rng(2);
  const auto x = random_matrix<float>(3, 4, rng);
  const Compaction<float> all({MergePlan<float>::keeping(Rows{0, 1}, 2), {}, MergePlan<float>::keeping(Rows{0}, 1)},
                              input);
  REQUIRE(identical(all.compact(x), x));
  REQUIRE(identical(all.expand(x), x));
  REQUIRE(identical(all.compact_backward(x), x));
  REQUIRE(all.output_offsets() == input);

  const Compaction<float> none({MergePlan<float>::keeping(Rows{}, 2), {}, MergePlan<float>::keeping(Rows{}, 1)}, input);
  REQUIRE(none.output_offsets() == offsets_of({0, 0, 0}));
  REQUIRE(none.compact(x).rows() == 0);
  REQUIRE(none.compact(x).cols() == 4);
  REQUIRE(identical(none.expand(Matrix<float>(0, 4)), Matrix<float>(Matrix<float>::Zero(3, 4))));
  REQUIRE(identical(none.compact_backward(Matrix<float>(0, 4)), Matrix<float>(Matrix<float>::Zero(3, 4))));
}

TEST_CASE("a batch without sequences, or with empty ones alone, compacts to the same", "[Compaction]") {
  for (const Rows& lengths : {Rows{}, Rows{0, 0}}) {
    const Compaction<double> compaction(Vector<MergePlan<double>>(lengths.size()), offsets_of(lengths));
    REQUIRE(compaction.output_offsets() == offsets_of(lengths));
    REQUIRE(compaction.compact(Matrix<double>(0, 3)).cols() == 3);
    REQUIRE(compaction.expand(Matrix<double>(0, 3)).rows() == 0);
    REQUIRE(compaction.representatives().empty());
    REQUIRE(compaction.pick_backward({}).empty());
  }
}

TEST_CASE("compacting a batch takes the positions of the representatives along", "[Compaction]") {
  Rng rng(3);
  const auto x = random_matrix<float>(5, 2, rng);
  const RaggedBatch<float> batch(x, offsets_of({3, 2}), {4, 7, 9, 0, 5});
  MergePlan<float> both(2);
  both.open(1);
  both.add(0);
  both.add(1);
  const auto shorter = compact(batch, {MergePlan<float>::keeping(Rows{0, 2}, 3), both});
  REQUIRE(shorter.offsets == offsets_of({2, 1}));
  REQUIRE(shorter.positions == Vector<Position>{4, 9, 5});
  REQUIRE(identical(Matrix<float>(shorter.sequence(0).row(1)), Matrix<float>(x.row(2))));
  REQUIRE(identical(Matrix<float>(shorter.sequence(1)), Matrix<float>(x.row(3) + x.row(4))));
}

TEST_CASE("compaction says what does not fit", "[Compaction]") {
  const SequenceOffsets input = offsets_of({3, 1});
  const auto two = MergePlan<float>::keeping(Rows{0, 2}, 3), one = MergePlan<float>::keeping(Rows{0}, 1);
  REQUIRE(argument_error([&] { Compaction<float>({two}, input); }) == "Compaction: plans.size(): got 1, expected 2");
  REQUIRE(argument_error([&] {
            Compaction<float>({one, two}, input);
          }) == "Compaction: plan.input_count(): got 1, expected 3");
  const Compaction<float> compaction({two, one}, input);
  const Matrix<float> four = Matrix<float>::Zero(4, 2), three = Matrix<float>::Zero(3, 2);
  REQUIRE(argument_error([&] { compaction.compact(three); }) == "Compaction::compact: x.rows(): got 3, expected 4");
  REQUIRE(argument_error([&] { compaction.compact_backward(four); }) ==
          "Compaction::compact_backward: grad_y.rows(): got 4, expected 3");
  REQUIRE(argument_error([&] { compaction.expand(four); }) == "Compaction::expand: y.rows(): got 4, expected 3");
  const Vector<float> values(3, 0.0F), grad(4, 0.0F);
  REQUIRE(argument_error([&] { compaction.pick(std::span<const float>(values)); }) ==
          "Compaction::pick: values.size(): got 3, expected 4");
  REQUIRE(argument_error([&] { compaction.pick_backward(grad); }) ==
          "Compaction::pick_backward: grad.size(): got 4, expected 3");
  REQUIRE(argument_error([&] { compact(RaggedBatch<float>(four, input), {two}); }) ==
          "Compaction: plans.size(): got 1, expected 2");
}

TEST_CASE("rows that are no single token are noticed", "[Compaction]") {
  const auto copies = [](const MergePlan<double>& plan) {
    return Compaction<double>({{}, plan, MergePlan<double>::keeping(Rows{1}, 2)}, offsets_of({0, 3, 2})).only_copies();
  };
  MergePlan<double> plan = MergePlan<double>::keeping(Rows{0, 2}, 3);
  REQUIRE(copies(plan));
  REQUIRE(copies(MergePlan<double>(3)));
  MergePlan<double> weighted = plan, memberless = plan;
  weighted.set_weights(0, 0.5);
  REQUIRE(copies(weighted));  // one token, if less of it
  memberless.open(1);
  REQUIRE_FALSE(copies(memberless));
  plan.add(1);
  REQUIRE_FALSE(copies(plan));
}

TEST_CASE("groups are rows of the whole batch", "[Compaction]") {
  MergePlan<double> plan(4);
  plan.open(0);
  plan.open(1);
  plan.add(0);
  plan.add(3);
  plan.open(2);
  plan.add(3, 0.5);
  plan.add(2);
  const Compaction<double> compaction({MergePlan<double>::keeping(Rows{1, 2}, 3), {}, plan}, offsets_of({3, 0, 4}));
  // Of the last sequence row 2 is empty, and its last token is in two, of which the first counts.
  REQUIRE(compaction.groups() == Rows{-1, 0, 1, 3, -1, 4, 3});
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Setup<double> s(seed);
    const Rows groups = s.compaction().groups();
    for (Index i = 0; i < s.input.count(); ++i) {
      Rows expected = s.plans[i].groups();
      for (Index& row : expected)
        if (row >= 0) row += s.compaction().output_offsets().begin(i);
      REQUIRE(Rows(groups.begin() + s.input.begin(i), groups.begin() + s.input.end(i)) == expected);
    }
  }
}

TEST_CASE("every row is visited with its sequence's first token", "[Compaction]") {
  const Compaction<float> compaction({MergePlan<float>::keeping(Rows{0, 2}, 3), MergePlan<float>::keeping(Rows{1}, 2)},
                                     offsets_of({3, 2}));
  Rows firsts, rows, tokens;
  compaction.for_each_row([&](Index first, Index row, std::span<const Member<float>> members) {
    firsts.push_back(first);
    rows.push_back(row);
    for (const Member<float>& member : members) tokens.push_back(member.token);
  });
  REQUIRE(firsts == Rows{0, 0, 3});
  REQUIRE(rows == Rows{0, 1, 2});
  REQUIRE(tokens == Rows{0, 2, 1});
}

TEST_CASE("a row of largest numbers, and its gradient", "[Compaction]") {
  MergePlan<double> plan(5), sums(2);
  plan.open(0);
  plan.add(0, 0.5);
  plan.add(2, 0.25);
  plan.add(3);
  plan.keep(4);
  plan.open(4);  // without members
  plan.set_combine(Combine::largest);
  sums.open(0);
  sums.add(0, 2.0);
  sums.add(1, 3.0);
  REQUIRE(plan.within(Rows{0, 1, 2, 3, 4}, 5).combine() == Combine::largest);
  const Compaction<double> compaction({plan, sums}, offsets_of({5, 2}));
  REQUIRE_FALSE(compaction.is_linear());
  REQUIRE(Compaction<double>({sums}, offsets_of({2})).is_linear());
  Rng rng(4);
  Matrix<double> x = random_matrix<double>(7, 6, rng);
  x(2, 1) = x(3, 1) = 9;  // of equal ones the first
  const Matrix<double> y = compaction.compact(x);
  for (Index c = 0; c < 6; ++c) {
    REQUIRE(y(0, c) == std::max({x(0, c), x(2, c), x(3, c)}));
    REQUIRE(y(1, c) == x(4, c));
    REQUIRE(y(2, c) == 0);
    REQUIRE_THAT(y(3, c), Catch::Matchers::WithinAbs(2 * x(5, c) + 3 * x(6, c), 1e-14));
  }
  const Matrix<double> probe = random_matrix<double>(4, 6, rng);
  const Matrix<double> grad = compaction.compact_backward(probe, x);
  REQUIRE(grad(2, 1) == probe(0, 1));
  REQUIRE(grad(3, 1) == 0);
  x(3, 1) = 8;  // finite differences want no ties
  Matrix<double> analytic = compaction.compact_backward(probe, x);
  require_gradients([&] { return probe_sum(probe, compaction.compact(x)); }, {tensor_view("x", x)},
                    {tensor_view("x", analytic)});
  REQUIRE_THROWS_AS(compaction.compact_backward(probe), std::invalid_argument);
  REQUIRE_THROWS_AS(compaction.compact_backward(probe, x.topRows(3)), std::invalid_argument);
}

TEST_CASE("a row is made as long as its longest member, and its gradient", "[Compaction]") {
  MergePlan<double> plan(5);
  plan.open(0);
  plan.add(0, 0.5);
  plan.add(2, 0.25);
  plan.add(3, 0.25);
  plan.keep(4);
  plan.open(4);  // without members
  plan.set_combine(Combine::restored_norm);
  const Compaction<double> compaction({plan}, offsets_of({5}));
  REQUIRE_FALSE(compaction.is_linear());
  Rng rng(5);
  Matrix<double> x = random_matrix<double>(5, 6, rng);
  const Matrix<double> y = compaction.compact(x), sum = 0.5 * x.row(0) + 0.25 * x.row(2) + 0.25 * x.row(3);
  const double most = std::max({x.row(0).norm(), x.row(2).norm(), x.row(3).norm()});
  REQUIRE((y.row(0) - sum * (most / sum.norm())).norm() < 1e-14);
  REQUIRE(y.row(1) == x.row(4));
  REQUIRE(y.row(2).norm() == 0);
  const Matrix<double> probe = random_matrix<double>(3, 6, rng);
  Matrix<double> analytic = compaction.compact_backward(probe, x);
  require_gradients([&] { return probe_sum(probe, compaction.compact(x)); }, {tensor_view("x", x)},
                    {tensor_view("x", analytic)});
  const Matrix<double> none = Matrix<double>::Zero(5, 6);  // has no direction: it stays, and nothing is no number
  REQUIRE(compaction.compact(none).norm() == 0);
  REQUIRE(compaction.compact_backward(probe, none).allFinite());
}

}  // namespace compaction_test
