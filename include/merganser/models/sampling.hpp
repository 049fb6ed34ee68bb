// Choosing the next token from a row of logits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string_view>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// How the next token is chosen.
enum class Sampling {
  greedy,  ///< the most probable token; of equals the lowest id
  random,  ///< drawn, see SamplingOptions
};

/// What a token is drawn from: softmax(logits / temperature), of it the `top_k` most probable tokens, of these the
/// fewest most probable ones that hold `top_p` of the probability. Greedy choice looks at none of the three.
struct SamplingOptions {
  Sampling method = Sampling::greedy;
  double temperature = 1.0;  ///< positive; low is cautious
  Index top_k = 0;           ///< 0: all tokens
  double top_p = 1.0;        ///< in (0, 1]; 1: all tokens (nucleus sampling: Holtzman et al. 2020, arXiv 1904.09751)

  /// @throws std::invalid_argument naming `function` if a number is out of its range
  void check(std::string_view function) const {
    check_argument(temperature > 0 && std::isfinite(temperature), function, "temperature", temperature,
                   "a positive number");
    check_argument(top_k >= 0, function, "top_k", top_k, "at least 0");
    check_argument(top_p > 0 && top_p <= 1, function, "top_p", top_p, "a number above 0, at most 1");
  }
};

/// A token and how probable it is.
struct TokenProbability {
  TokenId id = 0;
  double probability = 0.0;  ///< in [0, 1]

  bool operator==(const TokenProbability&) const = default;
};

/// One row of logits [V].
template <Real Scalar>
using LogitRow = Eigen::Ref<const PlainRowVector<Scalar>>;

/// The token with the largest logit; of equals the lowest id. A logit that is no number is the smallest.
/// @throws std::invalid_argument if there are no logits
template <Real Scalar>
TokenId most_probable(const LogitRow<Scalar>& logits) {
  check_argument(logits.size() > 0, "most_probable", "logits", "none", "at least 1");
  Index best = 0;
  for (Index id = 1; id < logits.size(); ++id)
    if (logits[id] > logits[best] || (std::isnan(logits[best]) && !std::isnan(logits[id]))) best = id;
  return static_cast<TokenId>(best);
}

namespace detail {

/// Logits [V] minus the largest, at most 0. Infinities of equal sign are 0 apart; what is no number becomes -infinity.
template <Real Scalar>
Vector<double> relative_to_largest(const LogitRow<Scalar>& logits) {
  const auto largest = static_cast<double>(logits[most_probable<Scalar>(logits)]);
  Vector<double> result;
  result.reserve(logits.size());
  for (Index id = 0; id < logits.size(); ++id) {
    const auto logit = static_cast<double>(logits[id]);
    const double difference = logit == largest ? 0.0 : logit - largest;
    result.push_back(std::isnan(difference) ? -std::numeric_limits<double>::infinity() : difference);
  }
  return result;
}

/// Leaves the first `count` in the given order.
template <class Value, class Before>
void keep_first(Vector<Value>& values, Index count, Before&& before) {
  count = std::min(count, values.size());
  std::partial_sort(values.begin(), values.begin() + count, values.end(), before);
  values.resize(count);
}

}  // namespace detail

/// The logarithms [V] of softmax(logits), in double, summed in the order of the ids.
/// @throws std::invalid_argument if there are no logits
template <Real Scalar>
Vector<double> log_probabilities(const LogitRow<Scalar>& logits) {
  Vector<double> result = detail::relative_to_largest<Scalar>(logits);
  double total = 0;
  for (const double difference : result) total += std::exp(difference);
  const double log_total = total > 0 ? std::log(total) : 0.0;  // 0 when no logit is a number
  for (double& value : result) value -= log_total;
  return result;
}

/// The tokens that may be drawn, with probabilities that sum to 1: by rising id where all may be, else the most
/// probable first (of equals the lowest id first). Sums run in that order.
/// @throws std::invalid_argument if there are no logits or an option is out of its range
template <Real Scalar>
Vector<TokenProbability> token_distribution(const LogitRow<Scalar>& logits, const SamplingOptions& options) {
  options.check("token_distribution");
  if (options.method == Sampling::greedy) return {{most_probable<Scalar>(logits), 1.0}};
  Vector<TokenProbability> tokens;  // with logits, then weights, then probabilities
  for (const double difference : detail::relative_to_largest<Scalar>(logits))
    tokens.push_back({static_cast<TokenId>(tokens.size()), difference});
  const Index most = options.top_k > 0 ? options.top_k : tokens.size();
  if (most < tokens.size() || options.top_p < 1)
    detail::keep_first(tokens, most, [](const TokenProbability& a, const TokenProbability& b) {
      return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
    });
  for (TokenProbability& token : tokens) token.probability = std::exp(token.probability / options.temperature);
  const auto sum = [&] {
    return std::accumulate(tokens.begin(), tokens.end(), 0.0,
                           [](double before, const TokenProbability& token) { return before + token.probability; });
  };
  if (options.top_p < 1) {
    const double enough = options.top_p * sum();
    Index count = 0;
    for (double held = 0; count < tokens.size() && held < enough; ++count) held += tokens[count].probability;
    tokens.resize(count);
  }
  const double total = sum();
  if (!(total > 0)) return {{most_probable<Scalar>(logits), 1.0}};  // no logit is a number
  for (TokenProbability& token : tokens) token.probability /= total;
  return tokens;
}

/// Picks one token of a row of logits. A random choice takes one number from `rng`, whatever the options.
/// @throws std::invalid_argument as `token_distribution`
template <Real Scalar>
TokenId choose_token(const LogitRow<Scalar>& logits, const SamplingOptions& options, Rng& rng) {
  if (options.method == Sampling::greedy) return most_probable<Scalar>(logits);
  const Vector<TokenProbability> tokens = token_distribution<Scalar>(logits, options);
  const double draw = rng.uniform();
  double sum = 0;
  for (const TokenProbability& token : tokens) {
    sum += token.probability;
    if (draw < sum) return token.id;
  }
  // The probabilities sum to a little less than 1: the last token that can be drawn.
  Index last = tokens.size() - 1;
  while (last > 0 && !(tokens[last].probability > 0)) --last;
  return tokens[last].id;
}

/// The random numbers of one sequence: another stream for every number and every seed.
inline Rng sampling_stream(std::uint64_t seed, std::uint64_t number) { return Rng(Rng(seed).next() + number); }

}  // namespace merganser::models
