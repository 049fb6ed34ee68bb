// One file of the golden vectors of policies, and what is compared with it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/io/files/safetensors.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/tokens.hpp>

#include "support/given_attention.hpp"

namespace merganser::testing {

/// The environment variable MERGANSER_GOLDEN_MERGE_DIR if it is set, else the folder tests/golden_merge.
inline std::filesystem::path golden_merge_dir() {
  const char* chosen = std::getenv("MERGANSER_GOLDEN_MERGE_DIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : MERGANSER_GOLDEN_MERGE_DIR;
}

/// Inputs `in.*`, settings `param.*` and results `out.*` of one case, in a precision.
template <Real Scalar>
class MergeCase {
 public:
  explicit MergeCase(const std::filesystem::path& path) : file_(io::SafetensorsFile::open(path)) {}

  bool has(const std::string& name) const { return file_.contains(name); }
  Matrix<Scalar> matrix(const std::string& name) const { return file_.template folded_matrix<Scalar>(name); }
  Vector<Scalar> vector(const std::string& name) const {
    const Matrix<Scalar> values = matrix(name);
    return Vector<Scalar>(values.data(), values.data() + values.size());
  }
  Vector<Index> indices(const std::string& name) const {
    const std::vector<std::int64_t> values = file_.integers(name);
    return Vector<Index>(values.begin(), values.end());
  }
  Index integer(const std::string& name) const { return indices(name).at(0); }
  double number(const std::string& name) const { return static_cast<double>(vector(name).at(0)); }
  std::vector<Index> shape(const std::string& name) const { return file_.tensor(name).shape; }

  /// One matrix of a tensor [H, n, n].
  Matrix<Scalar> head(const std::string& name, Index number) const {
    const std::vector<Index> extents = shape(name);
    const Matrix<Scalar> all = matrix(name);
    Matrix<Scalar> result(extents.at(1), extents.at(2));
    std::copy_n(all.data() + number * result.size(), result.size(), result.data());
    return result;
  }

  void compare(const std::string& name, const Matrix<Scalar>& got, double tolerance = 1e-4) {
    const Matrix<Scalar> expected = matrix(name);
    if (got.size() != expected.size()) return miss(name, "sizes differ");
    for (Index i = 0; i < got.size(); ++i) {
      const double a = static_cast<double>(got.data()[i]), b = static_cast<double>(expected.data()[i]);
      if (!(std::abs(a - b) <= tolerance + tolerance * std::abs(b)))
        return miss(name,
                    "element " + std::to_string(i) + " got " + std::to_string(a) + " expected " + std::to_string(b));
    }
    ++compared_;
  }
  void compare(const std::string& name, const Vector<Scalar>& got, double tolerance = 1e-4) {
    Matrix<Scalar> row(1, got.size());
    std::copy(got.begin(), got.end(), row.data());
    compare(name, row, tolerance);
  }
  void compare_exactly(const std::string& name, const Vector<Index>& got) {
    if (got != indices(name)) return miss(name, "indices differ");
    ++compared_;
  }
  void require(const std::string& name, bool condition, const std::string& why) {
    if (!condition) return miss(name, why);
    ++compared_;
  }
  void miss(const std::string& name, const std::string& why) { misses_.push_back(name + ": " + why); }

  const std::vector<std::string>& misses() const { return misses_; }
  int compared() const { return compared_; }

 private:
  io::SafetensorsFile file_;
  std::vector<std::string> misses_;
  int compared_ = 0;
};

/// Tokens of a case, chosen by a metric in the place of keys.
template <Real Scalar>
class MetricTokens {
 public:
  MetricTokens(const MergeCase<Scalar>& c, Index removals)
      : x_(c.matrix("in.x")), attention_({}, c.matrix("in.metric")), removals_(removals) {
    if (c.has("in.size")) sizes_ = c.vector("in.size");
  }

  merge::Tokens<Scalar> sized() const {
    merge::Tokens<Scalar> tokens = unsized();
    tokens.sizes = sizes_;
    return tokens;
  }
  merge::Tokens<Scalar> unsized() const {
    merge::Tokens<Scalar> tokens{x_, {}};
    tokens.removals = removals_;
    tokens.attention = &attention_;
    return tokens;
  }

  const Matrix<Scalar>& x() const { return x_; }
  Matrix<Scalar> sizes() const {
    Matrix<Scalar> column(sizes_.size(), 1);
    std::copy(sizes_.begin(), sizes_.end(), column.data());
    return column;
  }

 private:
  Matrix<Scalar> x_;
  Vector<Scalar> sizes_;
  GivenAttention<Scalar> attention_;
  Index removals_;
};

/// The rows that a plan makes of x, in the order in which the case lists them: by a token of each.
template <Real Scalar>
Matrix<Scalar> listed(const merge::MergePlan<Scalar>& plan, const Matrix<Scalar>& x, const Vector<Index>& order) {
  const merge::Compaction<Scalar> compaction({plan}, SequenceOffsets::single(x.rows()));
  const Matrix<Scalar> rows = compaction.compact(x);
  const Vector<Index> groups = plan.groups();
  Matrix<Scalar> result(order.size(), x.cols());
  for (Index i = 0; i < order.size(); ++i) result.row(i) = rows.row(groups[order[i]]);
  return result;
}

/// The sums of the sizes of members, in the same order.
template <Real Scalar>
Matrix<Scalar> listed_sizes(const merge::MergePlan<Scalar>& plan, const Matrix<Scalar>& sizes,
                            const Vector<Index>& order) {
  const Vector<Index> groups = plan.groups();
  Matrix<Scalar> result = Matrix<Scalar>::Zero(order.size(), 1);
  for (Index i = 0; i < order.size(); ++i)
    for (const merge::Member<Scalar>& member : plan.members(groups[order[i]])) result(i, 0) += sizes(member.token, 0);
  return result;
}

/// Every token takes its row again.
template <Real Scalar>
Matrix<Scalar> expanded(const merge::MergePlan<Scalar>& plan, const Matrix<Scalar>& x) {
  const merge::Compaction<Scalar> compaction({plan}, SequenceOffsets::single(x.rows()));
  return compaction.expand(compaction.compact(x));
}

}  // namespace merganser::testing
