#include <merganser/merge/strided_convolution.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace strided_convolution_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;

using Flags = Vector<std::uint8_t>;
using Rows = Vector<Index>;

template <Real Scalar>
struct Setup {
  SequenceOffsets offsets = SequenceOffsets::from_lengths(Rows{6, 0, 1, 8});
  Flags pads{0, 0, 0, 0, 0, 0, /**/ 0, /**/ 0, 1, 0, 1, 1, 1, 0, 1};
  StridedConvolution<Scalar> layer{{5, 3}};
  Matrix<Scalar> x;

  explicit Setup(std::uint64_t seed = 1) {
    Rng rng(seed);
    randomise(layer, rng);
    x = random_matrix<Scalar>(offsets.total(), 5, rng);
  }

  Compaction<Scalar> groups() const { return {strided_plans<Scalar>(offsets, 3, pads), offsets}; }
};

TEST_CASE("groups are consecutive tokens; pads are in none, and the last may be short", "[StridedConvolution]") {
  const auto plans =
      strided_plans<double>(SequenceOffsets::from_lengths(Rows{6, 1, 0, 7, 8}), 3,
                            Flags{0, 0, 0, 0, 0, 0, /**/ 0, /**/ 0, 0, 0, 0, 0, 0, 0, /**/ 0, 1, 0, 1, 1, 1, 0, 1});
  REQUIRE(plans[0].groups() == Rows{0, 0, 0, 1, 1, 1});
  REQUIRE(plans[0].representatives() == Rows{0, 3});
  REQUIRE(plans[1].groups() == Rows{0});
  REQUIRE(plans[2].output_count() == 0);
  REQUIRE(plans[3].groups() == Rows{0, 0, 0, 1, 1, 1, 2});
  REQUIRE(plans[3].representatives() == Rows{0, 3, 6});
  REQUIRE(plans[4].groups() == Rows{0, -1, 0, -1, -1, -1, 0, -1});
  REQUIRE(plans[4].representatives() == Rows{0});
}

TEMPLATE_TEST_CASE("a group becomes the gelu of its convolution, missing rows are 0", "[StridedConvolution]", float,
                   double) {
  const Setup<TestType> s;
  const Matrix<TestType> y = s.layer.forward(s.x, s.groups());
  const Vector<Rows> members{{0, 1, 2}, {3, 4, 5}, {6, -1, -1}, {7, 9, 13}};
  REQUIRE(y.rows() == 4);
  for (Index g = 0; g < 4; ++g)
    for (Index o = 0; o < 5; ++o) {
      double sum = static_cast<double>(s.layer.bias[o]);
      for (Index k = 0; k < 3; ++k) {
        const Index row = members[g][k];
        for (Index c = 0; c < 5 && row >= 0; ++c)
          sum += static_cast<double>(s.layer.weight(o, c * 3 + k)) * static_cast<double>(s.x(row, c));
      }
      const double expected = sum * 0.5 * (1 + std::erf(sum / std::sqrt(2.0)));
      REQUIRE_THAT(static_cast<double>(y(g, o)), WithinAbs(expected, sizeof(TestType) == 4 ? 1e-5 : 1e-13));
    }
}

TEST_CASE("the gradients of a strided convolution agree with finite differences", "[StridedConvolution]") {
  Setup<double> s;
  const Compaction<double> groups = s.groups();
  Rng rng(2);
  const auto probe = random_matrix<double>(groups.output_offsets().total(), 5, rng);
  StridedConvolution<double>::Cache cache;
  s.layer.forward(s.x, groups, cache);
  StridedConvolution<double> gradients = zeros_like(s.layer);
  Matrix<double> grad_x = s.layer.backward(probe, groups, cache, gradients);
  auto parameters = parameter_views(s.layer), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("x", s.x));
  analytic.push_back(tensor_view("x", grad_x));
  require_gradients([&] { return probe_sum(probe, s.layer.forward(s.x, groups)); }, parameters, analytic);
}

TEMPLATE_TEST_CASE("a strided convolution keeps the laws of a layer", "[StridedConvolution]", float, double) {
  const Setup<TestType> s;
  const auto groups = s.groups();
  typename StridedConvolution<TestType>::Cache cache;
  require_forward_agrees([&] { return s.layer.forward(s.x, groups); },
                         [&] { return s.layer.forward(s.x, groups, cache); });
  const Matrix<TestType> ones = Matrix<TestType>::Ones(4, 5);
  require_backward_adds(
      s.layer, [&](StridedConvolution<TestType>& gradients) { s.layer.backward(ones, groups, cache, gradients); });
  const Compaction<TestType> own(strided_plans<TestType>(SequenceOffsets::single(6), 3), SequenceOffsets::single(6));
  REQUIRE(identical(s.layer.forward(s.x.topRows(6), own), Matrix<TestType>(s.layer.forward(s.x, groups).topRows(2))));
}

TEST_CASE("a kernel longer than the rate reads the groups behind", "[StridedConvolution]") {
  for (const Index kernel : {3, 4, 5, 9}) {
    Setup<double> s;
    s.layer = StridedConvolution<double>({5, 3, kernel});
    Rng rng(2);
    randomise(s.layer, rng);
    const Compaction<double> groups = s.groups();
    const Vector<Rows> tokens{{0, 1, 2, 3, 4, 5}, {3, 4, 5}, {6}, {7, 9, 13}};  // from the group's first on
    StridedConvolution<double>::Cache cache;
    const Matrix<double> y = s.layer.forward(s.x, groups, cache);
    for (Index g = 0; g < 4; ++g)
      for (Index o = 0; o < 5; ++o) {
        double sum = s.layer.bias[o];
        for (Index k = 0; k < std::min(kernel, tokens[g].size()); ++k)
          for (Index c = 0; c < 5; ++c) sum += s.layer.weight(o, c * kernel + k) * s.x(tokens[g][k], c);
        REQUIRE_THAT(y(g, o), WithinAbs(sum * 0.5 * (1 + std::erf(sum / std::sqrt(2.0))), 1e-12));
      }
    const auto probe = random_matrix<double>(4, 5, rng);
    StridedConvolution<double> gradients = zeros_like(s.layer);
    Matrix<double> grad_x = s.layer.backward(probe, groups, cache, gradients);
    auto parameters = parameter_views(s.layer), analytic = parameter_views(gradients);
    parameters.push_back(tensor_view("x", s.x));
    analytic.push_back(tensor_view("x", grad_x));
    require_gradients([&] { return probe_sum(probe, s.layer.forward(s.x, groups)); }, parameters, analytic);
    REQUIRE(parameter_views(s.layer)[0].shape() == Rows{5, 5, kernel});
  }
  for (const Index kernel : {-1, 2})
    REQUIRE_THAT(argument_error([&] { StridedConvolution<float>({5, 3, kernel}); }), ContainsSubstring("kernel: got "));
}

TEST_CASE("the weight is a tensor of three extents in files", "[StridedConvolution]") {
  StridedConvolution<float> layer({5, 3}), copy = zeros_like(layer);
  REQUIRE(parameter_views(copy, "conv.")[0].name == "conv.weight");
  REQUIRE(parameter_views(copy)[0].shape() == Rows{5, 5, 3});
  REQUIRE(parameter_views(copy)[1].shape() == Rows{5});
  StridedConvolution<float> one({5, 1});
  REQUIRE(parameter_views(one)[0].shape() == Rows{5, 5, 1});
}

TEST_CASE("no rows make no groups, and what does not fit is named", "[StridedConvolution]") {
  const Setup<float> s;
  const Compaction<float> none(strided_plans<float>(SequenceOffsets(), 3), SequenceOffsets());
  REQUIRE(s.layer.forward(Matrix<float>(0, 5), none).rows() == 0);
  REQUIRE_THROWS_AS(s.layer.forward(Matrix<float>(2, 5), s.groups()), std::invalid_argument);
  const Compaction<float> longer(strided_plans<float>(s.offsets, 4), s.offsets);
  REQUIRE_THAT(argument_error([&] { s.layer.forward(s.x, longer); }), ContainsSubstring("rows of a group: got "));
  REQUIRE_THAT(argument_error([] { strided_plans<float>(SequenceOffsets::single(2), 0); }),
               ContainsSubstring("rate: got 0"));
  REQUIRE_THROWS_AS(strided_plans<float>(SequenceOffsets::single(2), 2, Flags{0}), std::invalid_argument);
  REQUIRE_THROWS_AS(StridedConvolution<float>({5, 0}), std::invalid_argument);
}

TEST_CASE("a rate that no memory holds is refused", "[StridedConvolution]") {
  REQUIRE(argument_error([] {
            StridedConvolution<float>({5, Index{1} << 60});
          }) == "StridedConvolution: rate: got 1152921504606846976, expected at most 65536 rows of a group");
}

}  // namespace strided_convolution_test
