// Keys that are attended to many times, laid out once for the kernel of attention.
#pragma once

#include <algorithm>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/attention.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// The keys of some sequences, head by head. Writing text one token after the other reads the same keys at every step;
/// without this half of the time goes into packing them anew.
template <Real Scalar>
class PackedKeys {
 public:
  PackedKeys() = default;

  /// keys [T_k x H K]; `sequences` are ranges of their rows, none of which overlap.
  /// @throws std::invalid_argument if the heads do not share the columns or a range is outside the rows
  PackedKeys(const MatrixRef<Scalar>& keys, Index heads, std::span<const RowRange> sequences) {
    check_argument(heads > 0 && keys.cols() % heads == 0, "PackedKeys", "heads", heads,
                   "a divisor of the number of columns");
    const Index width = width_ = keys.cols() / heads;
    heads_ = heads;
    Index size = 0;
    for (const RowRange& range : sequences) {
      check_argument(range.begin >= 0 && range.length >= 0 && range.begin <= keys.rows() &&
                         range.length <= keys.rows() - range.begin,
                     "PackedKeys", "sequences", range.begin, "rows of the keys");
      if (range.length == 0) continue;
      places_.push_back({range, size, kernels::packed_keys_size<Scalar>(range.length, width)});
      size += heads * places_.back().head_size;
    }
    std::sort(places_.begin(), places_.end(),
              [](const Place& a, const Place& b) { return a.rows.begin < b.rows.begin; });
    values_.resize(size);
    for (const Place& place : places_)
      for (Index head = 0; head < heads; ++head)
        kernels::pack_keys<Scalar>(keys.block(place.rows.begin, head * width, place.rows.length, width),
                                   values_.data() + place.offset + head * place.head_size);
  }

  /// Whether these are heads [K] of a layer that has so many; nothing packed fits every layer.
  bool fits(Index heads, Index head_width) const {
    return places_.empty() || (heads == heads_ && head_width == width_);
  }

  /// The keys of one head as `kernels::attend` takes them; null unless exactly these rows were packed.
  const Scalar* find(const RowRange& rows, Index head) const& {
    const auto place = std::lower_bound(places_.begin(), places_.end(), rows.begin,
                                        [](const Place& at, Index begin) { return at.rows.begin < begin; });
    if (place == places_.end() || !(place->rows == rows)) return nullptr;
    return values_.data() + place->offset + head * place->head_size;
  }
  const Scalar* find(const RowRange& rows, Index head) const&& = delete;  // the keys would be gone

 private:
  struct Place {
    RowRange rows;
    Index offset;
    Index head_size;
  };

  Index heads_ = 0, width_ = 0;
  Vector<Place> places_;  ///< rising by row
  Vector<Scalar> values_;
};

}  // namespace merganser::nn
