#include <merganser/models/sampling.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/random_values.hpp"

namespace sampling_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

SamplingOptions drawn(double temperature = 1.0, Index top_k = 0, double top_p = 1.0) {
  return {Sampling::random, temperature, top_k, top_p};
}

RowVector<double> row_of(const Vector<double>& values) {
  return Eigen::Map<const PlainRowVector<double>>(values.data(), static_cast<Index>(values.size()));
}

RowVector<double> random_row(Index size, Rng& rng, double deviation = 2.0) {
  RowVector<double> row(size);
  for (Index i = 0; i < size; ++i) row[i] = deviation * rng.normal();
  return row;
}

/// The definition, without care for speed: the probability of every id, 0 for those that are left out.
Vector<double> defined_distribution(const RowVector<double>& logits, const SamplingOptions& options) {
  const Index count = logits.size();
  Vector<double> p(count);
  double total = 0;
  for (Index id = 0; id < count; ++id) total += p[id] = std::exp(logits[id] / options.temperature);
  const auto rank = [&](Index id) {  // how many come before it
    Index before = 0;
    for (Index other = 0; other < count; ++other)
      if (p[other] > p[id] || (p[other] == p[id] && other < id)) ++before;
    return before;
  };
  Vector<Index> ranks(count);
  for (Index id = 0; id < count; ++id) ranks[id] = rank(id);
  const auto keep = [&](const auto& wanted) {
    Vector<double> next = p;
    for (Index id = 0; id < count; ++id)
      if (!wanted(id)) next[id] = 0;
    total = std::accumulate(next.begin(), next.end(), 0.0);
    p = next;
  };
  if (options.top_k > 0) keep([&](Index id) { return ranks[id] < options.top_k; });
  // A token stays when those before it hold less than top_p.
  keep([&](Index id) {
    double before = 0;
    for (Index other = 0; other < count; ++other) before += ranks[other] < ranks[id] ? p[other] / total : 0.0;
    return before < options.top_p;
  });
  for (double& value : p) value /= total;
  return p;
}

/// By id, all V of them.
Vector<double> given_distribution(const RowVector<double>& logits, const SamplingOptions& options) {
  Vector<double> p(logits.size(), 0.0);
  for (const TokenProbability& token : token_distribution<double>(logits, options)) p[token.id] += token.probability;
  return p;
}

TEST_CASE("a token is drawn from the distribution of the definition", "[sampling]") {
  Rng rng(4);
  for (const Index size : {1, 2, 7, 40})
    for (const double temperature : {0.3, 1.0, 5.0})
      for (const Index top_k : {0, 1, 3, 40, 100})
        for (const double top_p : {1e-9, 0.1, 0.5, 0.9, 1.0}) {
          const RowVector<double> logits = random_row(size, rng);
          const SamplingOptions options = drawn(temperature, top_k, top_p);
          const Vector<double> given = given_distribution(logits, options);
          const Vector<double> defined = defined_distribution(logits, options);
          CAPTURE(size, temperature, top_k, top_p);
          for (Index id = 0; id < given.size(); ++id) {
            REQUIRE_THAT(given[id], WithinAbs(defined[id], 1e-12));
            REQUIRE((given[id] == 0) == (defined[id] == 0));
          }
          REQUIRE_THAT(std::accumulate(given.begin(), given.end(), 0.0), WithinAbs(1, 1e-12));
        }
}

TEST_CASE("draws follow the distribution: chi-square", "[sampling]") {
  const RowVector<double> logits = row_of({1.0, -0.5, 2.0, 0.0, 1.0, -1.0, -40.0});
  constexpr int draws = 20000;
  for (const SamplingOptions& options : {drawn(), drawn(2.0), drawn(2.0, 4), drawn(1.0, 0, 0.8), drawn(3.0, 5, 0.9)}) {
    Rng rng(3);
    std::map<TokenId, double> counts;
    for (int draw = 0; draw < draws; ++draw) ++counts[choose_token<double>(logits, options, rng)];
    double chi_square = 0;
    std::size_t possible = 0;
    for (const TokenProbability& token : token_distribution<double>(logits, options)) {
      const double expected = draws * token.probability;
      if (expected < 1) continue;
      chi_square += (counts[token.id] - expected) * (counts[token.id] - expected) / expected;
      counts.erase(token.id);
      ++possible;
    }
    CAPTURE(options.temperature, options.top_k, options.top_p, possible);
    REQUIRE(possible >= 3);
    REQUIRE(chi_square < 20.5);  // 5 degrees of freedom reach 20.5 once in a thousand times, fewer less often
    for (const auto& [id, count] : counts) REQUIRE(count <= 3);  // the id whose probability is all but 0
  }
}

TEST_CASE("of equals the lowest id comes first", "[sampling]") {
  Rng rng(1);
  for (const Index size : {3, 11, 40}) {
    RowVector<float> logits = RowVector<float>::Constant(size, -1.0F);
    logits(1) = logits(2) = logits(size - 1) = 2.0F;
    REQUIRE(most_probable<float>(logits) == 1);
    REQUIRE(choose_token<float>(logits, {}, rng) == 1);
    REQUIRE(choose_token<float>(logits, drawn(1.0, 1), rng) == 1);
    REQUIRE(choose_token<float>(logits, drawn(1.0, 0, 1e-6), rng) == 1);
    const auto two = token_distribution<float>(logits, drawn(1.0, 2));
    REQUIRE(two == Vector<TokenProbability>{{1, 0.5}, {2, 0.5}});
  }
}

TEST_CASE("the best tokens are found however hot or cold it is", "[sampling]") {
  Rng rng(2);
  const RowVector<double> logits = row_of({0.0, 3.0, 1.0, 2.0});
  // So hot that all weights are equal: the two best are still the two best.
  REQUIRE(token_distribution<double>(logits, drawn(1e300, 2)) == Vector<TokenProbability>{{1, 0.5}, {3, 0.5}});
  // So cold that all other weights are 0.
  for (int draw = 0; draw < 50; ++draw) REQUIRE(choose_token<double>(logits, drawn(1e-300), rng) == 1);
  for (int draw = 0; draw < 50; ++draw) REQUIRE(choose_token<double>(logits, drawn(1e-300, 3, 0.99), rng) == 1);
}

TEST_CASE("a random choice takes one number, a greedy one none", "[sampling]") {
  const RowVector<double> logits = row_of({0.0, 3.0, 1.0, 2.0});
  for (const SamplingOptions& options : {drawn(), drawn(1.0, 1), drawn(0.5, 2, 0.1)}) {
    Rng rng(5), expected(5);
    choose_token<double>(logits, options, rng);
    expected.next();
    REQUIRE(rng.state() == expected.state());
  }
  Rng rng(5);
  choose_token<double>(logits, {}, rng);
  REQUIRE(rng.state() == Rng(5).state());
}

TEST_CASE("log probabilities are those of the softmax, also far from 0", "[sampling]") {
  Rng rng(6);
  for (const double shift : {0.0, 1e4, -1e4}) {
    RowVector<double> logits = random_row(9, rng);
    double total = 0;
    for (const double logit : logits) total += std::exp(logit);
    const RowVector<double> shifted = logits.array() + shift;
    const Vector<double> got = log_probabilities<double>(shifted);
    REQUIRE(got.size() == 9);
    for (Index id = 0; id < 9; ++id) REQUIRE_THAT(got[id], WithinAbs(logits[id] - std::log(total), 1e-10));
  }
  REQUIRE(log_probabilities<float>(RowVector<float>::Constant(1, 7.0F)) == Vector<double>{0});
}

TEST_CASE("infinities and what is no number choose a token, too", "[sampling]") {
  const auto chosen = [](const RowVector<double>& logits) {
    Rng rng(7);
    std::set<TokenId> tokens;
    for (int draw = 0; draw < 200; ++draw) tokens.insert(choose_token<double>(logits, drawn(1.0, 0, 0.999), rng));
    for (int draw = 0; draw < 200; ++draw) tokens.insert(choose_token<double>(logits, drawn(), rng));
    REQUIRE(tokens.contains(most_probable<double>(logits)));
    return tokens;
  };
  REQUIRE(chosen(row_of({no_number, 1, 1})) == std::set<TokenId>{1, 2});
  REQUIRE(chosen(row_of({1, no_number, -infinity})) == std::set<TokenId>{0});
  REQUIRE(chosen(row_of({1, infinity, no_number, infinity})) == std::set<TokenId>{1, 3});
  REQUIRE(chosen(row_of({-infinity, -infinity})) == std::set<TokenId>{0, 1});
  REQUIRE(chosen(row_of({no_number, no_number})) == std::set<TokenId>{0});
  REQUIRE(chosen(row_of({no_number, -infinity})) == std::set<TokenId>{1});
  for (const Vector<double>& logits :
       {Vector<double>{no_number, no_number}, {infinity, 0, no_number}, {-infinity, -infinity}})
    for (const double value : log_probabilities<double>(row_of(logits))) REQUIRE(value <= 0);
  REQUIRE(log_probabilities<double>(row_of({infinity, infinity}))[1] == -std::log(2.0));
}

TEST_CASE("every sequence and every seed has a stream of its own", "[sampling]") {
  std::set<Rng::State> states;
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (std::uint64_t number = 0; number < 20; ++number) states.insert(sampling_stream(seed, number).state());
  REQUIRE(states.size() == 400);
  REQUIRE(sampling_stream(3, 4).state() == sampling_stream(3, 4).state());
}

TEST_CASE("sampling says what does not fit", "[sampling]") {
  Rng rng(1);
  const RowVector<double> logits = row_of({1, 2});
  const auto error = [&](const SamplingOptions& options) {
    return argument_error([&] { choose_token<double>(logits, options, rng); });
  };
  REQUIRE(error(drawn(0)) == "token_distribution: temperature: got 0, expected a positive number");
  REQUIRE(error(drawn(infinity)) == "token_distribution: temperature: got inf, expected a positive number");
  REQUIRE(error(drawn(no_number)).ends_with("expected a positive number"));
  REQUIRE(error(drawn(1, -1)) == "token_distribution: top_k: got -1, expected at least 0");
  REQUIRE(error(drawn(1, 0, 0)) == "token_distribution: top_p: got 0, expected a number above 0, at most 1");
  REQUIRE(error(drawn(1, 0, 1.5)) == "token_distribution: top_p: got 1.5, expected a number above 0, at most 1");
  REQUIRE(error(drawn(1, 0, no_number)).ends_with("expected a number above 0, at most 1"));
  REQUIRE(argument_error([&] { most_probable<float>(RowVector<float>()); }) ==
          "most_probable: logits: got none, expected at least 1");
  REQUIRE(argument_error([&] { log_probabilities<float>(RowVector<float>()); }) ==
          "most_probable: logits: got none, expected at least 1");
}

}  // namespace sampling_test
