// Rows go back to all tokens of their segments, or of those behind.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/recovery.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Every token takes a row, as it is. Dynamic pooling (Nawrot et al. 2023, arXiv 2211.09761) and the Hourglass (Nawrot
/// et al. 2021, arXiv 2110.13711). Cost: n D.
///
/// A row without members, such as a null group, stands in front of all segments; where there is none in front of the
/// first segment, its tokens come back as 0. Shifted rows ask for segments: tokens in a row that stand side by side.
template <Real Scalar>
class SegmentBroadcast {
 public:
  using ScalarType = Scalar;
  using Gradients = SegmentBroadcast;

  /// Which row a token takes.
  enum class Row {
    own,       ///< that of its segment; what is in none comes back as 0
    in_front,  ///< that of the segment in front of its own, or of a token in none the last one in front of it
    ended,     ///< the last one whose segment ends at the token or in front of it: dynamic pooling
  };

  struct Config {
    Row row = Row::own;
    /// With `ended`: the policy knows at the last token of a segment that it ends there, as a boundary predictor does.
    /// A rule that sees it from the token behind does not, and only `in_front` is causal then.
    bool ends_known = false;
  };

  struct Cache {
    Vector<Index> source;  ///< [T] the row that each token took, or -1
    Index rows = 0;        ///< T'
  };

  SegmentBroadcast() = default;
  explicit SegmentBroadcast(const Config& config) : config_(config) {}

  bool is_causal() const { return config_.row == Row::in_front || (config_.row == Row::ended && config_.ends_known); }

  /// y [T' x D'] to [T x D'].
  /// @throws std::invalid_argument if y is not of the reduction
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const {
    Cache cache;
    return forward(y, reduced, cache);
  }

  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const {
    reduced.check("SegmentBroadcast::forward", y);
    cache.rows = y.rows();
    cache.source = sources(reduced);
    Matrix<Scalar> result = Matrix<Scalar>::Zero(cache.source.size(), y.cols());
    for (Index t = 0; t < result.rows(); ++t)
      if (cache.source[t] >= 0) result.row(t) = y.row(cache.source[t]);
    return result;
  }

  RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, Gradients&) const {
    check_equal("SegmentBroadcast::backward", "grad.rows()", grad.rows(), cache.source.size());
    Matrix<Scalar> grad_y = Matrix<Scalar>::Zero(cache.rows, grad.cols());
    for (Index t = 0; t < grad.rows(); ++t)
      if (cache.source[t] >= 0) grad_y.row(cache.source[t]) += grad.row(t);
    return {std::move(grad_y)};
  }

  const Config& config() const { return config_; }

 private:
  Vector<Index> sources(const Reduced<Scalar>& reduced) const {
    Vector<Index> groups = reduced.reduction.report.group;
    if (groups.empty()) {  // nothing moved
      groups.resize(reduced.state.total());
      std::iota(groups.begin(), groups.end(), Index{0});
    }
    check_equal("SegmentBroadcast::forward", "report.group.size()", groups.size(), reduced.state.total());
    const Index rows = reduced.reduction.state.total();
    Vector<Index> last(rows, -1);  // of every row its last member
    for (Index t = 0; t < groups.size(); ++t) {
      check_argument(groups[t] < rows, "SegmentBroadcast::forward", "report.group", groups[t], "rows of the reduction");
      if (groups[t] >= 0) last[groups[t]] = t;
    }
    const Vector<std::uint8_t> pads = reduced.state.pads();
    Vector<Index> source(groups.size(), -1);
    for (Index i = 0; i < reduced.state.offsets.count(); ++i)
      take(reduced.state.offsets.range(i), reduced.reduction.state.offsets.range(i), groups, last, source);
    for (Index t = 0; t < pads.size(); ++t)
      if (pads[t] != 0) source[t] = -1;
    return source;
  }

  /// Of one sequence: its tokens and its rows.
  void take(const RowRange& tokens, const RowRange& rows, const Vector<Index>& groups, const Vector<Index>& last,
            Vector<Index>& source) const {
    Index seen = rows.length > 0 && last[rows.begin] < 0 ? rows.begin : -1;  // the last row in front
    for (Index t = tokens.begin; t < tokens.begin + tokens.length; ++t) {
      const Index own = groups[t];
      if (config_.row == Row::own) {
        source[t] = own;
      } else if (config_.row == Row::ended) {
        if (own >= 0 && last[own] == t) seen = own;
        source[t] = seen;
      } else {
        source[t] = own < 0 ? seen : own > rows.begin ? own - 1 : -1;
        seen = std::max(seen, own);
      }
    }
  }

  Config config_;
};

}  // namespace merganser::merge
