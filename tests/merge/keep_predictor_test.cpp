#include <merganser/merge/keep_predictor.hpp>

#include <cmath>
#include <cstdint>
#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace keep_predictor_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Flags = Vector<std::uint8_t>;

template <Real Scalar>
KeepPredictor<Scalar> random_predictor(Index width) {
  KeepPredictor<Scalar> predictor(width);
  Rng rng(1);
  randomise(predictor, rng);
  return predictor;
}

double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }

Vector<double> mapped(const KeepPredictor<double>& p, std::size_t i, const Vector<double>& in, bool activated) {
  const Matrix<double>& w = p.maps[i].weight.matrix();
  Vector<double> out;
  for (Index o = 0; o < w.rows(); ++o) {
    double sum = p.biases[i][o];
    for (Index c = 0; c < w.cols(); ++c) sum += w(o, c) * in[c];
    out.push_back(activated ? gelu(sum) : sum);
  }
  return out;
}

/// In plain loops, of one sequence.
Vector<double> slow_logits(const KeepPredictor<double>& p, const Matrix<double>& x, const Flags& gone) {
  const Index width = x.cols(), half = width / 2;
  Vector<Vector<double>> h;
  Vector<double> mean(width, 0.0);
  double count = 0;
  for (Index t = 0; t < x.rows(); ++t) {
    double m = 0, v = 0;
    for (Index c = 0; c < width; ++c) m += x(t, c) / static_cast<double>(width);
    for (Index c = 0; c < width; ++c) v += (x(t, c) - m) * (x(t, c) - m) / static_cast<double>(width);
    Vector<double> row;
    for (Index c = 0; c < width; ++c) row.push_back((x(t, c) - m) / std::sqrt(v + 1e-5) * p.scale[c] + p.shift[c]);
    h.push_back(mapped(p, 0, row, true));
    if (gone[t] != 0) continue;
    ++count;
    for (Index c = 0; c < width; ++c) mean[c] += h[t][c];
  }
  Vector<double> logits;
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index c = half; c < width; ++c) h[t][c] = count > 0 ? mean[c] / count : 0;
    const Vector<double> last = mapped(p, 3, mapped(p, 2, mapped(p, 1, h[t], true), true), false);
    logits.push_back(last[0] - last[1]);
  }
  return logits;
}

TEST_CASE("a keep predictor joins own features and the mean of those that are there", "[KeepPredictor]") {
  for (const Index width : {4, 6, 10}) {
    const KeepPredictor<double> predictor = random_predictor<double>(width);
    Rng rng(2);
    const SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{5, 0, 1, 4});
    const Matrix<double> x = random_matrix<double>(10, width, rng);
    const Flags gone = {0, 1, 0, 0, 1, /**/ 1, /**/ 0, 0, 0, 0};
    KeepPredictor<double>::Cache cache;
    const Vector<double> logits = predictor.forward(x, offsets, gone, cache);
    Vector<double> expected;
    for (const RowRange& range : offsets.ranges()) {
      const Flags own(gone.begin() + range.begin, gone.begin() + range.end());
      const Vector<double> alone = slow_logits(predictor, x.middleRows(range.begin, range.length), own);
      expected.append(alone.begin(), alone.end());
    }
    for (Index t = 0; t < 10; ++t) REQUIRE_THAT(logits[t], Catch::Matchers::WithinAbs(expected[t], 1e-10));
    if (width == 10) REQUIRE(predictor.forward(x, offsets, {}, cache)[0] != logits[0]);
  }
}

TEST_CASE("the gradients of a keep predictor agree with finite differences", "[KeepPredictor]") {
  for (const bool some_gone : {false, true}) {
    KeepPredictor<double> predictor = random_predictor<double>(6);
    Rng rng(2);
    const SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{4, 0, 1, 3});
    Matrix<double> x = random_matrix<double>(8, 6, rng);
    const Flags gone = some_gone ? Flags{0, 1, 0, 0, 1, 0, 0, 1} : Flags{};
    const Vector<double> probe = random_values<double>(8, rng);
    KeepPredictor<double>::Cache cache;
    const auto loss = [&] {
      const Vector<double> logits = predictor.forward(x, offsets, gone, cache);
      double sum = 0;
      for (Index t = 0; t < 8; ++t) sum += probe[t] * logits[t];
      return sum;
    };
    loss();
    KeepPredictor<double> gradients = zeros_like(predictor);
    Matrix<double> grad = predictor.backward(probe, cache, gradients);
    auto parameters = parameter_views(predictor), analytic = parameter_views(gradients);
    parameters.push_back(tensor_view("x", x));
    analytic.push_back(tensor_view("x", grad));
    require_gradients(loss, parameters, analytic);
    require_backward_adds(predictor, [&](KeepPredictor<double>& sums) { predictor.backward(probe, cache, sums); });
  }
}

TEST_CASE("a keep predictor's sequences do not hear of each other", "[KeepPredictor]") {
  const KeepPredictor<float> predictor = random_predictor<float>(6);
  Rng rng(3);
  const Matrix<float> x = random_matrix<float>(9, 6, rng);
  KeepPredictor<float>::Cache cache;
  const auto together = predictor.forward(x, SequenceOffsets::from_lengths(Vector<Index>{4, 5}), {}, cache);
  const auto alone = predictor.forward(x.bottomRows(5), SequenceOffsets::single(5), {}, cache);
  REQUIRE(Vector<float>(together.begin() + 4, together.end()) == alone);
}

TEST_CASE("a keep predictor starts at random and names its parameters", "[KeepPredictor]") {
  KeepPredictor<float> predictor(8);
  Rng rng(1);
  predictor.initialize(1, rng);
  REQUIRE(measured_deviation(predictor.maps[0].weight.matrix()) > 0.2);
  REQUIRE(predictor.biases[0].isZero());
  Vector<std::string> names;
  for (const auto& tensor : parameter_views(predictor)) names.push_back(tensor.name);
  REQUIRE(names == Vector<std::string>{"in_conv.0.weight", "in_conv.0.bias", "in_conv.1.weight", "in_conv.1.bias",
                                       "out_conv.0.weight", "out_conv.0.bias", "out_conv.2.weight", "out_conv.2.bias",
                                       "out_conv.4.weight", "out_conv.4.bias"});
}

TEST_CASE("shapes of a keep predictor that do not fit are named", "[KeepPredictor]") {
  for (const Index width : {0, 2, 5})
    REQUIRE(argument_error([&] { KeepPredictor<float>{width}; }) ==
            "KeepPredictor: width: got " + std::to_string(width) + ", expected an even number from 4 on");
  const KeepPredictor<float> predictor(4);
  KeepPredictor<float>::Cache cache;
  REQUIRE(argument_error([&] {
            predictor.forward(Matrix<float>::Zero(2, 4), SequenceOffsets::single(3), {}, cache);
          }) == "KeepPredictor::forward: x.rows(): got 2, expected 3");
  REQUIRE_THROWS_AS(predictor.forward(Matrix<float>::Zero(2, 6), SequenceOffsets::single(2), {}, cache),
                    std::invalid_argument);
  const Flags gone = {1};
  REQUIRE_THROWS_AS(predictor.forward(Matrix<float>::Zero(2, 4), SequenceOffsets::single(2), gone, cache),
                    std::invalid_argument);
}

}  // namespace keep_predictor_test
