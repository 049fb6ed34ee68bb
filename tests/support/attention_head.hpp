// One head of attention with its inputs, the definition in plain loops, and every combination of features.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/kernels/attention.hpp>
#include <merganser/kernels/attention_backward.hpp>

#include "support/random_values.hpp"

namespace merganser::testing {

using kernels::attend;
using kernels::attend_backward;
using kernels::HeadGradients;
using kernels::HeadScores;
using kernels::SoftmaxKind;
using kernels::SoftmaxRows;
using kernels::Visibility;

enum class Places {
  counting,   // 0, 1, 2, ...: keys in stretches
  with_gaps,  // rising with gaps, as after deletion
  with_ties,  // neither rising nor falling by one each time, yet as many as their range
};

inline std::vector<Position> places(Places kind, Index count) {
  std::vector<Position> result(static_cast<std::size_t>(count));
  std::iota(result.begin(), result.end(), 0);
  if (kind == Places::with_gaps)
    for (std::size_t i = 0; i < result.size(); ++i) result[i] += static_cast<Position>(i * i / 2 + 2);
  if (kind == Places::with_ties && count > 2) result[1] = 0;
  return result;
}

// One head's inputs, owned: everything that HeadScores points to.
template <Real Scalar>
struct Head {
  Matrix<Scalar> q, k, v;
  SoftmaxKind softmax = SoftmaxKind::softmax;
  Visibility visibility = Visibility::all;
  Scalar soft_cap = 0;
  std::vector<Scalar> distance_bias;
  Index radius = 0;
  std::vector<Position> query_positions, key_positions;
  std::vector<Scalar> key_bias;
  std::vector<std::uint8_t> hidden;

  HeadScores<Scalar> scores() const {
    HeadScores<Scalar> result;
    result.softmax = softmax;
    result.visibility = visibility;
    result.soft_cap = soft_cap;
    result.distance_bias = distance_bias.empty() ? nullptr : distance_bias.data();
    result.radius = radius;
    result.query_positions = query_positions;
    result.key_positions = key_positions;
    result.key_bias = key_bias;
    result.hidden_keys = hidden;
    return result;
  }
};

// What a head may use beside q, k and v.
struct Features {
  SoftmaxKind softmax = SoftmaxKind::softmax;
  Visibility visibility = Visibility::all;
  double soft_cap = 0;
  Index radius = -1;  // -1: no distance bias
  Places query_places = Places::counting, key_places = Places::counting;
  bool key_bias = false, hidden = false;
};

/// K unless told otherwise: neither a packet nor a panel.
inline constexpr Index head_width = 5;

template <Real Scalar>
Head<Scalar> make_head(Index queries, Index keys, const Features& features, std::uint64_t seed,
                       Index width = head_width) {
  Rng rng(seed);
  Head<Scalar> head;
  head.q = random_matrix<Scalar>(queries, width, rng);
  head.k = random_matrix<Scalar>(keys, width, rng);
  head.v = random_matrix<Scalar>(keys, width, rng);
  head.softmax = features.softmax;
  head.visibility = features.visibility;
  head.soft_cap = static_cast<Scalar>(features.soft_cap);
  if (features.radius >= 0) {
    head.radius = features.radius;
    head.distance_bias = random_values<Scalar, std::vector<Scalar>>(2 * features.radius + 1, rng);
  }
  head.query_positions = places(features.query_places, queries);
  head.key_positions = places(features.key_places, keys);
  if (features.key_bias) head.key_bias = random_values<Scalar, std::vector<Scalar>>(keys, rng, 2.0);
  if (features.hidden)  // but never the first key: every query sees something
    for (Index k = 0; k < keys; ++k) head.hidden.push_back(k > 0 && rng.bernoulli(0.4) ? 1 : 0);
  return head;
}

template <Real Scalar>
struct Attended {
  Matrix<Scalar> y;
  std::vector<Scalar> largest, factors;
  double excess = 0;
};

template <Real Scalar>
Attended<Scalar> run(const Head<Scalar>& head, const Scalar* excess_limit = nullptr) {
  const auto queries = static_cast<std::size_t>(head.q.rows());
  Attended<Scalar> result{Matrix<Scalar>::Constant(head.q.rows(), head.v.cols(), Scalar(99)),
                          std::vector<Scalar>(queries), std::vector<Scalar>(queries), 0.0};
  result.excess = attend<Scalar>(head.q, head.k, head.v, head.scores(), result.y,
                                 {result.largest.data(), result.factors.data()}, excess_limit);
  return result;
}

// Score without key bias of one pair, by the definition; hidden pairs get -1e9.
template <Real Scalar>
double plain_score(const Head<Scalar>& head, Index i, Index j) {
  const auto qi = static_cast<std::size_t>(i), kj = static_cast<std::size_t>(j);
  if (!head.hidden.empty() && head.hidden[kj] != 0) return -1e9;
  if (head.visibility == Visibility::causal && head.key_positions[kj] > head.query_positions[qi]) return -1e9;
  double score = 0;
  for (Index d = 0; d < head.q.cols(); ++d)
    score += static_cast<double>(head.q(i, d)) * static_cast<double>(head.k(j, d));
  const auto cap = static_cast<double>(head.soft_cap);
  if (cap > 0) score = cap * std::tanh(score / cap);
  if (!head.distance_bias.empty()) {
    const Index distance = head.key_positions[kj] - head.query_positions[qi];
    const Index place = std::clamp(distance, -head.radius, head.radius) + head.radius;
    score += static_cast<double>(head.distance_bias[static_cast<std::size_t>(place)]);
  }
  return score;
}

template <Real Scalar>
Attended<double> plain_attend(const Head<Scalar>& head, double limit = 0) {
  Attended<double> result{Matrix<double>::Zero(head.q.rows(), head.v.cols()), {}, {}, 0.0};
  for (Index i = 0; i < head.q.rows(); ++i) {
    std::vector<double> scores;
    double largest = head.softmax == SoftmaxKind::softmax1 ? 0.0 : -std::numeric_limits<double>::infinity();
    for (Index j = 0; j < head.k.rows(); ++j) {
      scores.push_back(plain_score(head, i, j));
      result.excess += std::max(scores.back() - limit, 0.0);
      if (!head.key_bias.empty()) scores.back() += static_cast<double>(head.key_bias[static_cast<std::size_t>(j)]);
      largest = std::max(largest, scores.back());
    }
    double total = head.softmax == SoftmaxKind::softmax1 ? std::exp(-largest) : 0.0;
    for (const double score : scores) total += std::exp(score - largest);
    for (Index j = 0; j < head.k.rows(); ++j)
      for (Index d = 0; d < head.v.cols(); ++d)
        result.y(i, d) +=
            std::exp(scores[static_cast<std::size_t>(j)] - largest) / total * static_cast<double>(head.v(j, d));
  }
  return result;
}

// Every combination of the features, with and without each.
inline std::vector<Features> all_features() {
  std::vector<Features> result;
  for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1})
    for (const Visibility visibility : {Visibility::all, Visibility::causal})
      for (const double soft_cap : {0.0, 2.0})
        for (const Index radius : {Index{-1}, Index{0}, Index{4}, Index{40}})
          for (const Places key_places : {Places::counting, Places::with_gaps, Places::with_ties})
            for (const bool key_bias : {false, true})
              for (const bool hidden : {false, true})
                result.push_back({softmax, visibility, soft_cap, radius,
                                  key_places == Places::with_gaps ? Places::with_gaps : Places::counting, key_places,
                                  key_bias, hidden});
  return result;
}

inline std::string describe(const Features& f) {
  return (f.softmax == SoftmaxKind::softmax1 ? "softmax1" : "softmax") +
         std::string(f.visibility == Visibility::causal ? ", causal" : "") + ", cap " + std::to_string(f.soft_cap) +
         ", radius " + std::to_string(f.radius) + ", places " + std::to_string(static_cast<int>(f.key_places)) +
         (f.key_bias ? ", key bias" : "") + (f.hidden ? ", hidden keys" : "");
}

/// A head of random extents and features, and what it is.
template <Real Scalar>
struct RandomHead {
  Head<Scalar> head;
  std::string description;
};

/// Every third trial may have `most_keys` keys, the others 70. Every second head with hidden keys has nothing else.
template <Real Scalar>
RandomHead<Scalar> random_head(int trial, Index most_queries, Index most_keys, const std::vector<Features>& features,
                               Rng& rng) {
  const auto below = [&](Index end) { return static_cast<Index>(rng.below(static_cast<std::uint64_t>(end))); };
  const Index queries = below(most_queries), keys = trial % 3 == 0 ? below(most_keys) : below(70);
  const Index width = 1 + below(70);
  const Features& chosen = features[static_cast<std::size_t>(below(static_cast<Index>(features.size())))];
  auto head = make_head<Scalar>(queries, keys, chosen, static_cast<std::uint64_t>(trial), width);
  head.q *= Scalar(2) / std::sqrt(static_cast<Scalar>(width));
  if (chosen.hidden && trial % 2 == 0) {  // beside -1e9 a key bias is lost in float
    std::fill(head.hidden.begin(), head.hidden.end(), std::uint8_t{1});
    head.key_bias.clear();
  }
  return {std::move(head), describe(chosen) + ", " + std::to_string(queries) + " queries, " + std::to_string(keys) +
                               " keys, width " + std::to_string(width)};
}

/// The gradients of one head.
struct AllGradients {
  Matrix<double> q, k, v;
  std::vector<double> distance_bias, key_bias;
};

template <Real Scalar>
AllGradients gradients_of(const Head<Scalar>& head, const Matrix<Scalar>& grad_y, Scalar excess_weight, Scalar limit,
                          Scalar start = 0) {
  const auto like = [&](const Matrix<Scalar>& m) { return Matrix<Scalar>::Constant(m.rows(), m.cols(), start).eval(); };
  Matrix<Scalar> q = like(head.q), k = like(head.k), v = like(head.v);
  std::vector<Scalar> distance_bias(head.distance_bias.size(), start), key_bias(head.key_bias.size(), start);
  const Attended<Scalar> forward = run(head);
  HeadGradients<Scalar> extra;
  if (!distance_bias.empty()) extra.distance_bias = distance_bias.data();
  if (!key_bias.empty()) extra.key_bias = key_bias.data();
  extra.excess_weight = excess_weight;
  extra.excess_limit = limit;
  attend_backward<Scalar>(head.q, head.k, head.v, head.scores(), forward.y,
                          {forward.largest.data(), forward.factors.data()}, grad_y, q, k, v, extra);
  const auto list = [](const std::vector<Scalar>& values) { return std::vector<double>(values.begin(), values.end()); };
  return {q.template cast<double>(), k.template cast<double>(), v.template cast<double>(), list(distance_bias),
          list(key_bias)};
}

/// The same from whole matrices of scores, by the rules of differentiation.
template <Real Scalar>
AllGradients plain_gradients(const Head<Scalar>& head, const Matrix<Scalar>& grad_y, double excess_weight,
                             double limit) {
  const Index queries = head.q.rows(), keys = head.k.rows();
  const Matrix<double> q = head.q.template cast<double>(), k = head.k.template cast<double>(),
                       v = head.v.template cast<double>(), gy = grad_y.template cast<double>();
  AllGradients grad{Matrix<double>::Zero(queries, q.cols()), Matrix<double>::Zero(keys, k.cols()),
                    Matrix<double>::Zero(keys, v.cols()), std::vector<double>(head.distance_bias.size()),
                    std::vector<double>(head.key_bias.size())};
  const auto cap = static_cast<double>(head.soft_cap);
  for (Index i = 0; i < queries; ++i) {
    RowVector<double> weights(keys);
    for (Index j = 0; j < keys; ++j)
      weights(j) = plain_score(head, i, j) +
                   (head.key_bias.empty() ? 0.0 : static_cast<double>(head.key_bias[static_cast<std::size_t>(j)]));
    if (keys == 0) continue;
    const bool one = head.softmax == SoftmaxKind::softmax1;
    const double largest = std::max(weights.maxCoeff(), one ? 0.0 : -std::numeric_limits<double>::infinity());
    weights = (weights.array() - largest).exp().matrix().eval();
    weights /= weights.sum() + (one ? std::exp(-largest) : 0.0);
    const RowVector<double> grad_weights = gy.row(i) * v.transpose();
    grad.v += weights.transpose() * gy.row(i);
    const double inner = weights.dot(grad_weights);
    for (Index j = 0; j < keys; ++j) {
      const auto qi = static_cast<std::size_t>(i), kj = static_cast<std::size_t>(j);
      double g = weights(j) * (grad_weights(j) - inner);
      if (!grad.key_bias.empty()) grad.key_bias[kj] += g;
      const double score = plain_score(head, i, j);
      if (score == kernels::hidden_score) continue;
      if (score > limit) g += excess_weight;
      if (!grad.distance_bias.empty()) {
        const Index distance = head.key_positions[kj] - head.query_positions[qi];
        grad.distance_bias[static_cast<std::size_t>(std::clamp(distance, -head.radius, head.radius) + head.radius)] +=
            g;
      }
      if (cap > 0) g *= 1 - std::pow(std::tanh(q.row(i).dot(k.row(j)) / cap), 2);
      grad.q.row(i) += g * k.row(j);
      grad.k.row(j) += g * q.row(i);
    }
  }
  return grad;
}

}  // namespace merganser::testing
