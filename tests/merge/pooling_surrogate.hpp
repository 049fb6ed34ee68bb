// Segment means as a smooth function of soft boundaries, in plain loops: what the straight-through gradient derives.
#pragma once

#include <cstdint>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/merge/boundary_predictor.hpp>
#include <merganser/merge/segments.hpp>

namespace merganser::testing {

/// Segments as they were at the start; a soft boundary that has moved since then moves the weights of all tokens
/// behind.
struct PoolingSurrogate {
  SequenceOffsets offsets;
  Vector<std::uint8_t> pads;
  merge::Boundaries<double> start;
  merge::SegmentSettings settings = {};

  merge::Compaction<double> segments() const {
    return {merge::segment_plans<double>(start.hard, offsets, pads, settings), offsets};
  }

  /// Means [T' x D] of x [T x D]; rows without members are 0.
  Matrix<double> means(const Matrix<double>& x, const Vector<double>& soft) const {
    const merge::Compaction<double> groups = segments();
    Matrix<double> sums = Matrix<double>::Zero(groups.output_offsets().total(), x.cols());
    Vector<double> weights(sums.rows(), 0.0), counts = weights;
    for (Index i = 0; i < offsets.count(); ++i) {
      const Vector<Index> segment_of = groups.plan(i).groups();
      double moved = 0;
      for (Index row = 0; row < offsets.length(i); ++row) {
        const Index t = offsets.begin(i) + row;
        const Index group = segment_of[row];
        if (group < 0) continue;
        const Index out = groups.output_offsets().begin(i) + group;
        sums.row(out) += (1 + moved) * x.row(t);
        weights[out] += 1 + moved;
        counts[out] += 1;
        if (start.settled[t] == 0) moved += soft[t] - start.soft[t];
      }
    }
    for (Index row = 0; row < sums.rows(); ++row)
      if (counts[row] > 0) sums.row(row) *= counts[row] / (counts[row] + 1e-9) / weights[row];
    return sums;
  }

  /// sum of weights [T] times the boundaries that are the predictor's choice.
  double weighted(const Vector<double>& weights, const Vector<double>& soft) const {
    double sum = 0;
    for (Index t = 0; t < weights.size(); ++t)
      if (start.settled[t] == 0) sum += weights[t] * soft[t];
    return sum;
  }
};

}  // namespace merganser::testing
