// Token fusion by several criteria: tokens that are alike, little looked at and small become one.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Two tokens i and j are drawn to each other by
///
///     ((1 + cos(x_i, x_j)) / 2)^(1 / t_sim)  (u_i u_j)^(1 / t_info)  (v_i v_j)^(1 / t_size)
///
/// with u = min(a) / a of the attention a that a token received from all, over all heads, and v = min(size) / size.
/// Half of what is to go are tokens of even number that join ones of odd number, the pairs of highest value; the other
/// half are of odd number and join those of even number that have stayed, even if some have joined them before. A row
/// is the mean of its members by a x size. At most half of the tokens go.
///
/// MCTF (Lee et al. 2024, arXiv 2403.10030), without its attention one step ahead. Stands behind attention; alike are
/// the vectors, not keys. Cost: n^2 D, and half an attention for what is received.
struct MCTF {
  enum class Directions {
    both,
    even_to_odd,  ///< all that go are of even number
  };

  static constexpr PolicyTraits traits{.has_budget = true, .reads_attention = true};

  Budget budget = {};                     ///< of the policy itself, where the call asks for nothing
  double similarity_temperature = 1.0;    ///< t_sim, at least 0; of each, 0 leaves the criterion out
  double information_temperature = 20.0;  ///< t_info
  double size_temperature = 40.0;         ///< t_size
  Directions directions = Directions::both;
  Index protected_rows = 0;  ///< tokens at the beginning that neither go nor are joined, such as a class token

  /// @throws std::invalid_argument if it does not stand behind attention or a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(protected_rows >= 0, "MCTF", "protected_rows", protected_rows, "at least 0");
    for (const double temperature : {similarity_temperature, information_temperature, size_temperature})
      check_argument(temperature >= 0, "MCTF", "temperature", temperature, "at least 0");
    const Index n = tokens.count(), most = std::max<Index>(n - protected_rows, 0) / 2;
    const Index gone = std::min(budget.removals(n, tokens.removals), most);
    const Index of_even = directions == Directions::both ? gone / 2 : gone;
    const Vector<Scalar> information = received(tokens);
    const Matrix<Scalar> rows = criteria(tokens, information);
    const auto [even, odd] = even_and_odd(protected_rows, n);
    Vector<Index> joins = apart(n), stayed;
    join_closest(rows, even, odd, of_even, joins);
    for (const Index token : even)
      if (joins[token] == token) stayed.push_back(token);
    join_closest(rows, odd, stayed, gone - of_even, joins);
    Vector<Scalar> weights;
    for (Index t = 0; t < n; ++t) weights.push_back(positive(information[t] * positive(tokens.size(t))));
    return plan_of_targets<Scalar>(joins, weights);
  }

 private:
  /// [n], a sum over heads and queries.
  template <Real Scalar>
  static Vector<Scalar> received(const Tokens<Scalar>& tokens) {
    Vector<Scalar> result(tokens.count(), Scalar{0});
    const Matrix<Scalar> heads = tokens.received();
    for (Index head = 0; head < heads.rows(); ++head)
      for (Index t = 0; t < result.size(); ++t) result[t] += heads(head, t);
    for (Scalar& value : result) value = positive(value);
    return result;
  }

  /// [n x D + 1]: rows whose products rise with the value of a pair. They are its t_sim-th power: of unit rows, and a 1
  /// for what is added to the cosine, times a factor of each token. [n x 1] where similarity is left out.
  template <Real Scalar>
  Matrix<Scalar> criteria(const Tokens<Scalar>& tokens, const Vector<Scalar>& information) const {
    const Index n = tokens.count(), width = similarity_temperature > 0 ? tokens.x.cols() : 0;
    const double power = similarity_temperature > 0 ? similarity_temperature : 1.0;
    Scalar least = std::numeric_limits<Scalar>::max(), smallest = least;
    for (Index t = 0; t < n; ++t) {
      least = std::min(least, information[t]);
      smallest = std::min(smallest, positive(tokens.size(t)));
    }
    Matrix<Scalar> rows(n, width + 1);
    if (width > 0) rows.leftCols(width) = unit_rows<Scalar>(tokens.x);
    rows.col(width).setOnes();
    for (Index t = 0; t < n; ++t)
      rows.row(t) *= static_cast<Scalar>(factor(least, information[t], power, information_temperature) *
                                         factor(smallest, positive(tokens.size(t)), power, size_temperature));
    return rows;
  }

  template <Real Scalar>
  static double factor(Scalar least, Scalar value, double power, double temperature) {
    return temperature > 0 ? std::pow(static_cast<double>(least) / static_cast<double>(value), power / temperature) : 1;
  }

  /// Nothing is divided by 0.
  template <Real Scalar>
  static Scalar positive(Scalar value) {
    return std::max(value, std::numeric_limits<Scalar>::min());
  }
};

}  // namespace merganser::merge
