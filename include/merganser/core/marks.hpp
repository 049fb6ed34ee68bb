// Which rows are marked: pads, rows that a gate must delete, rows that are gone.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A view of one mark a row, where 0 marks nothing, or of no marks at all: then no row is marked.
class Marks {
 public:
  Marks() = default;
  template <class List>
  requires std::convertible_to<const List&, std::span<const std::uint8_t>> Marks(const List& marks) : marks_(marks) {}

  bool operator[](std::integral auto row) const {
    return !marks_.empty() && marks_[static_cast<std::size_t>(row)] != 0;
  }
  bool any() const { return count() > 0; }
  Index count() const { return size() - std::count(marks_.begin(), marks_.end(), std::uint8_t{0}); }

  /// The marks of some of the rows.
  Marks of(const RowRange& rows) const { return marks_.empty() ? *this : Marks(rows.of(marks_)); }

  /// As they were given: one a row, or none.
  std::span<const std::uint8_t> list() const { return marks_; }
  Index size() const { return std::ssize(marks_); }

  /// @throws std::invalid_argument naming `function` and `argument` if there are marks, but not one a row
  void check(std::string_view function, std::string_view argument, Index rows) const {
    if (!marks_.empty() && size() != rows)
      throw_invalid_argument(function, std::string(argument) + ".size()", size(), rows);
  }

 private:
  std::span<const std::uint8_t> marks_;
};

/// Marks in `marks`, one a row or none, what is marked in `more`.
inline void add_marks(Marks more, Vector<std::uint8_t>& marks) {
  marks.resize(std::max(marks.size(), more.size()), 0);
  for (Index row = 0; row < more.size(); ++row)
    if (more[row]) marks[row] = 1;
}

}  // namespace merganser
