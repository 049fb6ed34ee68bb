// The one value that says what becomes of every token of a sequence.
#pragma once

#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A token as a part of a row, with its weight there.
template <Real Scalar>
struct Member {
  Index token = 0;
  Scalar weight = Scalar{1};

  bool operator==(const Member&) const = default;
};

/// What a row becomes of several members.
enum class Combine {
  weighted_sum,
  largest,        ///< in each column the largest number of any member, whatever the weights
  restored_norm,  ///< the weighted sum, made as long as its longest member
};

/// For one sequence of n_in tokens that becomes n_out rows, seen from these: each lists the tokens it is made of, and
/// the token whose place it takes.
///
/// Deleting, merging, pooling and clustering are all plans. A row is the sum of weight * x over its members, unless
/// `combine` says otherwise. A token is
/// in no row (it is dropped), in one, or in several (soft clusters, integrate-and-fire). A row without members is 0.
template <Real Scalar>
class MergePlan {
 public:
  MergePlan() = default;
  explicit MergePlan(Index n_in) : n_in_(n_in) {}

  /// The plan that keeps the given tokens as they are and drops all others. `kept` rises, within [0, n_in).
  /// @throws std::invalid_argument if it does not
  static MergePlan keeping(std::span<const Index> kept, Index n_in) {
    MergePlan plan(n_in);
    plan.reserve(std::ssize(kept), std::ssize(kept));
    Index last = -1;
    for (const Index token : kept) {
      check_argument(token > last && token < n_in, "MergePlan::keeping", "kept", token,
                     "rising token numbers below n_in");
      plan.keep(last = token);
    }
    return plan;
  }

  /// Room for so many rows and members.
  void reserve(Index rows, Index members) {
    representatives_.reserve(rows);
    ends_.reserve(rows);
    members_.reserve(members);
  }

  /// Begins a further row, which stands at the place of this token.
  /// @throws std::invalid_argument if there is no such token
  void open(Index representative) {
    check_token("MergePlan::open", representative);
    representatives_.push_back(representative);
    ends_.push_back(members_.size());
  }

  /// Makes a token a part of the row that was opened last.
  /// @throws std::invalid_argument if there is no such token or no row
  void add(Index token, Scalar weight = Scalar{1}) {
    check_token("MergePlan::add", token);
    check_argument(!ends_.empty(), "MergePlan::add", "rows", 0, "an open row");
    members_.push_back({token, weight});
    ends_.back() = members_.size();
  }

  /// A row that is one token.
  void keep(Index token) {
    open(token);
    add(token);
  }

  /// The weights of a row that was opened, as a mean needs them once it knows how many members there are.
  void set_weights(Index row, Scalar weight) {
    for (Index i = begin_of(row); i < ends_[row]; ++i) members_[i].weight = weight;
  }

  /// The same plan of a longer sequence, in which this one's tokens are those rows; all others are dropped.
  /// @throws std::invalid_argument if there is not a row for each token, or no such row
  MergePlan within(std::span<const Index> rows, Index n_in) const {
    check_equal("MergePlan::within", "rows.size()", std::ssize(rows), n_in_);
    MergePlan plan(n_in);
    plan.reserve(output_count(), members_.size());
    plan.set_combine(combine_);
    plan.sizes_ = sizes_;
    for (Index row = 0; row < output_count(); ++row) {
      plan.open(rows[static_cast<std::size_t>(representatives_[row])]);
      for (const Member<Scalar>& member : members(row))
        plan.add(rows[static_cast<std::size_t>(member.token)], member.weight);
    }
    return plan;
  }

  /// Of rows of several members.
  void set_combine(Combine combine) { combine_ = combine; }
  Combine combine() const { return combine_; }

  /// [n_out]: how many tokens each row stands for, where that is not the sum of its members'. A plan with a token in
  /// several rows must say it.
  /// @throws std::invalid_argument if there is not one a row
  void set_sizes(Vector<Scalar> sizes) {
    check_equal("MergePlan::set_sizes", "sizes.size()", sizes.size(), output_count());
    sizes_ = std::move(sizes);
  }

  /// Empty: sizes of members add up.
  const Vector<Scalar>& sizes() const { return sizes_; }

  Index input_count() const { return n_in_; }
  Index output_count() const { return representatives_.size(); }

  std::span<const Member<Scalar>> members(Index row) const {
    return {members_.data() + begin_of(row), static_cast<std::size_t>(ends_[row] - begin_of(row))};
  }

  /// [n_out] the token whose place each row takes.
  const Vector<Index>& representatives() const { return representatives_; }

  /// [n_in] the first row that each token is in, or -1: dropped.
  Vector<Index> groups() const {
    Vector<Index> groups(n_in_, -1);
    for (Index row = output_count(); row-- > 0;)
      for (const Member<Scalar>& member : members(row)) groups[member.token] = row;
    return groups;
  }

  bool operator==(const MergePlan&) const = default;

 private:
  Index begin_of(Index row) const { return row > 0 ? ends_[row - 1] : 0; }

  void check_token(const char* function, Index token) const {
    check_argument(token >= 0 && token < n_in_, function, "token", token, "a token of the sequence");
  }

  Index n_in_ = 0;
  Combine combine_ = Combine::weighted_sum;
  Vector<Index> representatives_;   ///< [n_out]
  Vector<Index> ends_;              ///< [n_out] behind the last member of each row
  Vector<Member<Scalar>> members_;  ///< of row 0, of row 1, ...
  Vector<Scalar> sizes_;            ///< [n_out] or empty
};

}  // namespace merganser::merge
