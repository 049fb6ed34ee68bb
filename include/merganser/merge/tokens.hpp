// What a policy that plans a single sequence is shown, and what is true of policies whatever they are given.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/nn/attention_taps.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// What is true of a policy whatever it is given. A policy says it in a member `traits`, a constant or
/// a function; without one the defaults hold.
struct PolicyTraits {
  bool is_gate = false;            ///< soft deletion weakens keys; only hard deletion removes
  bool is_structural = false;      ///< acts in every deletion mode: the model does not work without it
  bool is_causal = false;          ///< no row hangs on a token behind its last member
  bool is_training_free = true;    ///< works in a model that was not trained with it
  bool needs_class_token = false;  ///< made for models whose first token stands for all
  bool has_budget = false;         ///< removes as many tokens as the call asks for, as far as it can
  bool reads_attention = false;    ///< asks attention, if it stands behind one: what it reads is kept for it
};

/// One sequence as a policy sees it. Pads are not among its tokens. What is empty is not known.
template <Real Scalar>
struct Tokens {
  MatrixRef<Scalar> x;                  ///< [n x D]
  std::span<const Position> positions;  ///< [n] in the sequence as it entered the model, rising
  std::span<const Scalar> sizes = {};   ///< [n] or empty (one each): tokens of the input that each stands for
  std::span<const TokenId> ids = {};    ///< [n] or empty
  std::optional<Index> removals = {};   ///< tokens that the call wants gone here; see Budget
  Rng* rng = nullptr;                   ///< of this sequence alone; null where the call has none
  const nn::AttentionTaps<Scalar>* attention = nullptr;  ///< that the tokens come from; null in front of a block
  Index sequence = 0;                                    ///< its number there
  std::span<const Index> rows = {};                      ///< [n] of the attention's sequence; empty: all

  Index count() const { return x.rows(); }
  Scalar size(Index token) const { return sizes.empty() ? Scalar{1} : sizes[static_cast<std::size_t>(token)]; }

  // What attention is asked for; see nn::AttentionTaps. All throw std::invalid_argument where there is none.

  /// [n x K].
  Matrix<Scalar> mean_keys() const { return shown_rows(taps().mean_keys(sequence)); }

  /// [n x H K].
  Matrix<Scalar> values() const { return shown_rows(taps().values(sequence)); }

  /// [H x n]: the weights of one token's query.
  Matrix<Scalar> attention_of(Index token) const { return shown_columns(taps().row(sequence, row_of(token))); }

  /// [H x n]: the weights that each token received, summed over queries; query_weights [n] or empty.
  Matrix<Scalar> received(std::span<const Scalar> query_weights = {},
                          nn::OwnWeight own = nn::OwnWeight::counted) const {
    if (rows.empty()) return taps().received(sequence, query_weights, own);
    if (!query_weights.empty())
      check_equal("Tokens::received", "query_weights.size()", std::ssize(query_weights), count());
    Vector<Scalar> spread(taps().values(sequence).rows(), Scalar{0});  // of pads 0
    for (Index n = 0; n < count(); ++n)
      spread[row_of(n)] = query_weights.empty() ? Scalar{1} : query_weights[static_cast<std::size_t>(n)];
    return shown_columns(taps().received(sequence, spread, own));
  }

  /// [n x n]: the weights of one head, a row a query.
  Matrix<Scalar> weights(Index head) const { return shown_columns(shown_rows(taps().weights(sequence, head))); }

 private:
  const nn::AttentionTaps<Scalar>& taps() const {
    check_argument(attention != nullptr, "Tokens", "attention", "none", "a policy behind the attention of a block");
    return *attention;
  }

  Index row_of(Index token) const { return rows.empty() ? token : rows[static_cast<std::size_t>(token)]; }

  Matrix<Scalar> shown_rows(Matrix<Scalar> all) const {
    if (rows.empty()) return all;
    Matrix<Scalar> shown(count(), all.cols());
    for (Index n = 0; n < count(); ++n) shown.row(n) = all.row(row_of(n));
    return shown;
  }

  Matrix<Scalar> shown_columns(Matrix<Scalar> all) const {
    if (rows.empty()) return all;
    Matrix<Scalar> shown(all.rows(), count());
    for (Index n = 0; n < count(); ++n) shown.col(n) = all.col(row_of(n));
    return shown;
  }
};

/// Plans what becomes of one sequence: `MergePlan plan(const Tokens&) const`. It keeps a row wherever there is a token,
/// and its representatives rise. Batches, threads and gradients come from `PlanPolicy`.
template <class P, class Scalar>
concept Planner = std::copy_constructible<P> && requires(const P& planner, const Tokens<Scalar>& tokens) {
  { planner.plan(tokens) } -> std::same_as<MergePlan<Scalar>>;
};

/// The traits of a policy of any kind.
template <class P>
PolicyTraits traits_of(const P& policy) {
  if constexpr (requires { policy.traits(); })
    return policy.traits();
  else if constexpr (requires { policy.traits; })
    return policy.traits;
  else
    return {};
}

}  // namespace merganser::merge
