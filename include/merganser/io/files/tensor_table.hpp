// Named tensors from one weight file or several, and reading their numbers.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/mapped_file.hpp>
#include <merganser/io/files/tensor_data.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// What becomes of infinities and NaN in a file, and of F64 numbers that are infinite as float.
enum class NonFinite {
  refuse,  ///< an IoError that names the tensor and the place
  accept,  ///< they are read as they are
};

/// Tensors by name, whichever files they come from: one safetensors file or all shards of a model.
///
/// Numbers are read piece by piece, and the pages of a mapped file are given back behind them, so that reading a large
/// tensor keeps about one MiB of its file resident. A value: copies share the bytes, which never change; borrowed ones
/// (`FileBytes::borrowed`) have to outlive it. Any number of threads may read.
class TensorTable {
 public:
  /// A table without tensors; `name` stands for it in errors about tensors that it does not have.
  explicit TensorTable(std::string name) : name_(std::move(name)) {}

  /// What the table is called in errors: its file, or the index of its files.
  const std::string& file_name() const { return name_; }

  /// The names of all tensors, in the order of their files and of the data in each.
  const std::vector<std::string>& names() const { return names_; }

  bool contains(std::string_view name) const { return entries_.contains(name); }

  /// @throws IoError if there is no such tensor
  const TensorInfo& tensor(std::string_view name) const { return entry(name).info; }

  /// The file that holds a tensor.
  /// @throws IoError if there is no such tensor
  const std::string& file_of(std::string_view name) const { return entry(name).source.file; }

  /// Takes in all tensors of another table.
  /// @throws IoError if a name is in both
  void append(const TensorTable& other) {
    for (const std::string& name : other.names_) add(name, other.entry(name).info, other.entry(name).source);
  }

  /// The numbers of a floating tensor: [n, m] as it is, [n] as one row, [] as [1 x 1].
  /// @throws IoError if there is no such tensor, it holds integers, or it has more than two extents
  template <Real Scalar>
  Matrix<Scalar> matrix(std::string_view name) const {
    if (tensor(name).shape.size() > 2)
      throw IoError(file_of(name), name, "shape " + shape_text(tensor(name).shape), "at most two extents");
    return folded_matrix<Scalar>(name);
  }

  /// As `matrix`, with all extents but the last folded into the rows: [b, n, m] becomes [b n x m].
  /// @throws IoError if there is no such tensor or it holds integers
  template <Real Scalar>
  Matrix<Scalar> folded_matrix(std::string_view name) const {
    const std::vector<Index>& shape = floating(name).info.shape;
    const Index cols = shape.empty() ? 1 : shape.back();
    const Index rows = shape.empty() ? 1 : *element_count(std::span(shape).first(shape.size() - 1));
    Matrix<Scalar> result(rows, cols);
    read_numbers(name, result.data(), NonFinite::accept);
    return result;
  }

  /// Writes the numbers of a floating tensor into a parameter.
  /// @throws IoError as `require_fit`, the parameter is then unchanged; or as `non_finite` says, it is then undefined
  template <Real Scalar>
  void read_into(std::string_view name, const ParameterView<Scalar>& parameter,
                 NonFinite non_finite = NonFinite::refuse) const {
    require_fit(name, parameter);
    read_numbers(name, parameter.data, non_finite);
  }

  /// Requires a tensor to hold the numbers of a parameter.
  /// @throws IoError if there is no such tensor, it holds integers, or its shape is not the parameter's
  template <Real Scalar>
  void require_fit(std::string_view name, const ParameterView<Scalar>& parameter) const {
    const std::vector<Index> expected = parameter.shape();
    const std::vector<Index>& shape = floating(name).info.shape;
    if (shape != expected)
      throw IoError(file_of(name), name, "shape " + shape_text(shape), "shape " + shape_text(expected));
  }

  /// Requires the numbers of a floating tensor to be finite as `Scalar`.
  /// @throws IoError if one is not, there is no such tensor or it holds integers
  template <Real Scalar>
  void require_finite(std::string_view name) const {
    std::vector<Scalar> numbers;
    for_each_piece(floating(name), [&](const TensorInfo& piece, Index first) {
      numbers.resize(static_cast<std::size_t>(piece.size()));
      detail::convert_floating(piece, numbers.data());
      check_finite(name, std::span<const Scalar>(numbers), first);
    });
  }

  /// The numbers of an integer tensor of any shape, row by row; false is 0 and true is 1.
  /// @throws IoError if there is no such tensor or it holds no integers
  std::vector<std::int64_t> integers(std::string_view name) const {
    const Entry& found = entry(name);
    if (is_floating(found.info.dtype) || found.info.dtype == DataType::other)
      throw IoError(file_of(name), name, found.info.type_name(), "I64, I32, I16, I8, U8 or BOOL");
    std::vector<std::int64_t> result(static_cast<std::size_t>(found.info.size()));
    for_each_piece(
        found, [&](const TensorInfo& piece, Index first) { detail::convert_integers(piece, result.data() + first); });
    return result;
  }

  /// True if two tensors have one type and shape and the same bits.
  /// @throws IoError if there is no such tensor
  bool same_bits(std::string_view name, std::string_view other) const {
    const Entry &one = entry(name), &two = entry(other);
    if (one.info.type_name() != two.info.type_name() || one.info.shape != two.info.shape ||
        one.info.bytes.size() != two.info.bytes.size())
      return false;
    bool same = true;
    for_each_piece(one, [&](const TensorInfo& piece, Index) {
      const auto offset = static_cast<std::size_t>(piece.bytes.data() - one.info.bytes.data());
      const auto part = two.info.bytes.subspan(offset, piece.bytes.size());
      same = same && std::memcmp(piece.bytes.data(), part.data(), part.size()) == 0;
      two.source.bytes.release(part);
    });
    return same;
  }

 protected:
  /// A file of the table.
  struct Source {
    std::string file;
    FileBytes bytes;
  };

  /// @throws IoError if the name is taken
  void add(const std::string& name, TensorInfo info, const Source& source) {
    const auto [place, is_new] = entries_.try_emplace(name, Entry{std::move(info), source});
    if (!is_new)
      throw IoError(source.file, name, "a tensor that is in " + place->second.source.file + " as well",
                    "every tensor once");
    names_.push_back(name);
  }

 private:
  struct Entry {
    TensorInfo info;
    Source source;
  };

  const Entry& entry(std::string_view name) const {
    const auto place = entries_.find(name);
    if (place == entries_.end()) throw IoError(name_, name, "no such tensor", "a tensor of this name");
    return place->second;
  }

  const Entry& floating(std::string_view name) const {
    const Entry& found = entry(name);
    if (!is_floating(found.info.dtype))
      throw IoError(found.source.file, name, found.info.type_name(), "F64, F32, F16 or BF16");
    return found;
  }

  /// Calls visit(piece, first element) for one stretch of a tensor after another.
  template <class Visit>
  static void for_each_piece(const Entry& entry, Visit visit) {
    constexpr std::size_t longest = std::size_t{1} << 20;  // bytes, a multiple of every element size
    const std::span<const std::byte> bytes = entry.info.bytes;
    for (std::size_t begin = 0; begin < bytes.size(); begin += longest) {
      const auto part = bytes.subspan(begin, std::min(longest, bytes.size() - begin));
      visit(TensorInfo{entry.info.dtype, {}, part, {}},
            static_cast<Index>(begin / std::max<std::size_t>(size_of(entry.info.dtype), 1)));
      entry.source.bytes.release(part);
    }
  }

  template <Real Scalar>
  void read_numbers(std::string_view name, Scalar* target, NonFinite non_finite) const {
    for_each_piece(floating(name), [&](const TensorInfo& piece, Index first) {
      detail::convert_floating(piece, target + first);
      if (non_finite == NonFinite::accept) return;
      check_finite(name, std::span<const Scalar>(target + first, static_cast<std::size_t>(piece.size())), first);
    });
  }

  template <Real Scalar>
  void check_finite(std::string_view name, std::span<const Scalar> numbers, Index first) const {
    const std::optional<std::size_t> place = detail::first_non_finite(numbers);
    if (!place) return;
    const Entry& found = entry(name);
    Index at = first + static_cast<Index>(*place);
    std::vector<Index> index = found.info.shape;
    for (std::size_t axis = index.size(); axis-- > 0; at /= found.info.shape[axis]) index[axis] = at % index[axis];
    throw IoError(found.source.file, name, to_text(numbers[*place]) + " at " + shape_text(index),
                  std::same_as<Scalar, float> ? "numbers that are finite as float" : "finite numbers");
  }

  std::string name_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::vector<std::string> names_;
};

}  // namespace merganser::io
