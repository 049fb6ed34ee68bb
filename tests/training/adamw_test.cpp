#include <merganser/training/adamw.hpp>

#include <cmath>
#include <limits>
#include <string>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace adamw_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

template <Real Scalar>
struct Model {
  using ScalarType = Scalar;
  Matrix<Scalar> weight = Matrix<Scalar>::Zero(3, 2);
  RowVector<Scalar> scale = RowVector<Scalar>::Zero(4);

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix) {
    visitor(prefix + "weight", weight);
    visitor(prefix + "scale", scale);
  }
};

struct Biased : Model<double> {
  Matrix<double> table = Matrix<double>::Ones(2, 2);

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix) {
    Model<double>::visit(visitor, prefix);
    visitor(prefix + "relative_attention_bias.weight", table);
  }
};

template <Real Scalar>
Model<Scalar> random_model(std::uint64_t seed) {
  Model<Scalar> model;
  Rng rng(seed);
  randomise(model, rng);
  return model;
}

TEMPLATE_TEST_CASE("AdamW follows its formula over several steps, with decay on matrices only", "[AdamW]", float,
                   double) {
  const double b1 = 0.8, b2 = 0.95, epsilon = 1e-3, decay = 0.1;
  Model<TestType> model = random_model<TestType>(1);
  AdamW<Model<TestType>> optimizer(model, {b1, b2, epsilon, decay});
  const Model<TestType> start = model;
  const Index count = parameter_count(model);
  Vector<double> p, m(count, 0), v(count, 0);
  for (const TestType value : numbers_of(start)) p.push_back(static_cast<double>(value));
  for (int step = 1; step <= 5; ++step) {
    const double rate = 0.01 * step;
    Model<TestType> gradients = random_model<TestType>(static_cast<std::uint64_t>(10 + step));
    const Vector<TestType> g = numbers_of(gradients);
    optimizer.step(model, gradients, rate);
    REQUIRE(optimizer.steps == step);
    REQUIRE(numbers_of(gradients) == g);
    for (Index i = 0; i < count; ++i) {
      const auto gradient = static_cast<double>(g[i]);
      m[i] = b1 * m[i] + (1 - b1) * gradient;
      v[i] = b2 * v[i] + (1 - b2) * gradient * gradient;
      const double mean = m[i] / (1 - std::pow(b1, step)), square = v[i] / (1 - std::pow(b2, step));
      p[i] -= rate * (mean / (std::sqrt(square) + epsilon) + (i < 6 ? decay * p[i] : 0.0));
    }
  }
  const Vector<TestType> result = numbers_of(model);
  for (Index i = 0; i < count; ++i) {
    CAPTURE(i);
    REQUIRE_THAT(static_cast<double>(result[i]),
                 Catch::Matchers::WithinAbs(p[i], 20 * static_cast<double>(std::numeric_limits<TestType>::epsilon())));
  }
}

TEST_CASE("the first step of AdamW goes by the learning rate against the sign of the gradient", "[AdamW]") {
  Model<double> model, gradients = random_model<double>(2);
  AdamW<Model<double>> optimizer(model, {});
  optimizer.step(model, gradients, 0.25);
  for (Index i = 0; i < 10; ++i)
    REQUIRE_THAT(numbers_of(model)[i], WithinRel(numbers_of(gradients)[i] > 0 ? -0.25 : 0.25, 1e-6));
}

TEST_CASE("without a gradient only weight decay moves a matrix", "[AdamW]") {
  Model<double> model = random_model<double>(1), zeros = zeros_like(model);
  const Model<double> start = model;
  AdamW<Model<double>> optimizer(model, {0.9, 0.999, 1e-8, 0.5});
  optimizer.step(model, zeros, 0.1);
  REQUIRE(identical(model.scale, start.scale));
  REQUIRE(relative_difference(model.weight, Matrix<double>(0.95 * start.weight)) <= agreement<double>);
}

TEST_CASE("one and two threads give the same bits in AdamW", "[AdamW]") {
  const auto run = [](int threads) {
    const Threads chosen(threads);
    Model<float> model = random_model<float>(1), gradients = random_model<float>(2);
    Rng rng(3);
    model.weight = random_matrix<float>(70, 50, rng);  // enough work for two
    gradients.weight = random_matrix<float>(70, 50, rng);
    AdamW<Model<float>> optimizer(model, {});
    for (int step = 0; step < 3; ++step) optimizer.step(model, gradients, 0.1);
    return numbers_of(model);
  };
  REQUIRE(run(1) == run(2));
}

TEST_CASE("AdamW refuses settings out of range", "[AdamW]") {
  const auto error = [](double beta1, double beta2, double epsilon, double decay) {
    return argument_error([&] { AdamW<Model<float>>(Model<float>(), {beta1, beta2, epsilon, decay}); });
  };
  REQUIRE(error(0, 0, 1e-8, 0) == "nothing thrown");
  REQUIRE(error(1, 0, 1e-8, 0) == "AdamW: beta1: got 1, expected in [0, 1)");
  REQUIRE(error(0, -0.1, 1e-8, 0) == "AdamW: beta2: got -0.1, expected in [0, 1)");
  REQUIRE(error(0, 0, 0, 0) == "AdamW: epsilon: got 0, expected a positive number");
  REQUIRE(error(0, 0, 1e-8, -1) == "AdamW: weight_decay: got -1, expected at least 0");
  REQUIRE(error(std::nan(""), 0, 1e-8, 0) == "AdamW: beta1: got nan, expected in [0, 1)");
}

TEST_CASE("AdamW does not decay a matrix that is a bias by its name", "[AdamW]") {
  Biased model;
  model.weight.setOnes();
  Biased zeros = zeros_like(model);
  AdamW<Biased> optimizer(model, {0.9, 0.999, 1e-8, 0.5});
  REQUIRE(optimizer.step(model, zeros, 0.1));
  REQUIRE(model.table == Matrix<double>::Ones(2, 2));
  REQUIRE_THAT(model.weight(0, 0), WithinRel(0.95, 1e-15));
}

TEST_CASE("an update that would leave a number that is not finite is refused, and nothing changes", "[AdamW]") {
  struct Trial {
    double rate, decay, gradient;
  };
  for (const Trial& trial : {Trial{1e300, 0, 1}, Trial{1e-3, 1e300, 1}, Trial{1e38, 1, 1}, Trial{1e-3, 0, 1e25},
                             Trial{std::nan(""), 0, 1}}) {
    CAPTURE(trial.rate, trial.decay, trial.gradient);
    Model<float> model = random_model<float>(1), gradients = random_model<float>(2);
    AdamW<Model<float>> optimizer(model, {0.9, 0.999, 1e-8, trial.decay});
    REQUIRE(optimizer.step(model, gradients, 0.5 / (1 + trial.decay)));
    const auto numbers = [&] {
      Vector<float> all = numbers_of(model);
      for (const auto* moment : {&optimizer.first_moment, &optimizer.second_moment})
        for (const float value : numbers_of(*moment)) all.push_back(value);
      return all;
    };
    const Vector<float> before = numbers();
    for (const auto& view : parameter_views(gradients)) view.array() *= static_cast<float>(trial.gradient);
    REQUIRE_FALSE(optimizer.step(model, gradients, trial.rate));
    REQUIRE(numbers() == before);
    REQUIRE(optimizer.steps == 1);
  }
}

TEST_CASE("large numbers that stay finite are taken, with the bits of the formula", "[AdamW]") {
  Model<float> model = random_model<float>(1), gradients = random_model<float>(2);
  AdamW<Model<float>> optimizer(model, {0.9, 0.999, 1e-8, 0});
  REQUIRE(optimizer.step(model, gradients, 1e30));  // beyond what is proven without looking
  REQUIRE(all_finite(model));
  REQUIRE(optimizer.steps == 1);
}

TEST_CASE("AdamW refuses settings that its type cannot hold", "[AdamW]") {
  REQUIRE_THROWS_AS((AdamW<Model<float>>(Model<float>(), {0.9, 0.999, 1e-60, 0})), std::invalid_argument);
  REQUIRE_NOTHROW(AdamW<Model<double>>(Model<double>(), {0.9, 0.999, 1e-60, 0}));
  const double infinity = std::numeric_limits<double>::infinity();
  REQUIRE_THROWS_AS((AdamW<Model<double>>(Model<double>(), {0.9, 0.999, infinity, 0})), std::invalid_argument);
  REQUIRE_THROWS_AS((AdamW<Model<double>>(Model<double>(), {0.9, 0.999, 1e-8, infinity})), std::invalid_argument);
}

}  // namespace adamw_test
