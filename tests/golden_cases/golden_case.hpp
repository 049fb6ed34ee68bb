// One golden case directory: its tensors as ragged batches, and comparison within the stated tolerances.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/io/safetensors.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::testing {

/// Tolerances of the golden vectors: |got - expected| <= absolute + relative |expected|.
template <Real Scalar>
inline constexpr double golden_absolute = sizeof(Scalar) == 4 ? 1e-4 : 1e-9;
template <Real Scalar>
inline constexpr double golden_relative = sizeof(Scalar) == 4 ? 1e-4 : 1e-9;

/// Largest errors of each quantity of a case, and whether one is out of tolerance.
class GoldenReport {
 public:
  /// Compares numbers one by one; a NaN is a miss.
  template <Real Scalar>
  void compare(const std::string& quantity, const std::vector<double>& got, const std::vector<double>& expected) {
    if (got.size() != expected.size())
      return miss(quantity, "sizes " + std::to_string(got.size()) + " and " + std::to_string(expected.size()));
    double& worst = errors_[quantity];
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double error = std::abs(got[i] - expected[i]);
      if (!(error <= golden_absolute<Scalar> + golden_relative<Scalar> * std::abs(expected[i])))
        miss(quantity, "element " + std::to_string(i) + " got " + std::to_string(got[i]) + " expected " +
                           std::to_string(expected[i]));
      worst = std::max(worst, std::isfinite(error) ? error : HUGE_VAL);
    }
  }

  void compare_exactly(const std::string& quantity, const std::vector<std::int64_t>& got,
                       const std::vector<std::int64_t>& expected) {
    errors_[quantity] = 0;
    if (got != expected) miss(quantity, "integers differ");
  }

  void miss(const std::string& quantity, const std::string& why) {
    errors_.try_emplace(quantity, HUGE_VAL);
    if (misses_.size() < 5) misses_.push_back(quantity + ": " + why);
    failed_ = true;
  }

  bool failed() const { return failed_; }
  const std::vector<std::string>& misses() const { return misses_; }
  const std::map<std::string, double>& errors() const { return errors_; }

 private:
  std::map<std::string, double> errors_;
  std::vector<std::string> misses_;
  bool failed_ = false;
};

inline std::vector<double> numbers(const io::SafetensorsFile& file, const std::string& name) {
  const Matrix<double> values = file.matrix<double>(name);
  return {values.data(), values.data() + values.size()};
}

/// Shape of a tensor with leading extents B and N (and a width, or 1).
struct Padded {
  Index batch = 0, length = 0, width = 1;

  static Padded of(const io::SafetensorsFile& file, const std::string& name) {
    const std::vector<Index>& shape = file.tensor(name).shape;
    return {shape.at(0), shape.at(1), shape.size() > 2 ? shape[2] : 1};
  }
};

/// Rows of a [B, N, width] tensor that a condition (b, n) selects, row after row.
template <class Condition>
std::vector<double> select_rows(const std::vector<double>& values, const Padded& shape, Condition&& wanted) {
  std::vector<double> rows;
  for (Index b = 0; b < shape.batch; ++b)
    for (Index n = 0; n < shape.length; ++n)
      if (wanted(b, n)) {
        const auto first = values.begin() + (b * shape.length + n) * shape.width;
        rows.insert(rows.end(), first, first + shape.width);
      }
  return rows;
}

/// A padded [B, N] batch of ids: every slot a token ("padded"), or only those that the mask shows ("ragged").
struct GoldenBatch {
  TokenBatch tokens;
  std::vector<std::uint8_t> hidden;  ///< [T], for the padded form with a mask; else empty

  static GoldenBatch padded(const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& mask, Index batch) {
    GoldenBatch result;
    const auto length = ids.size() / static_cast<std::size_t>(batch);
    for (std::size_t b = 0; b < static_cast<std::size_t>(batch); ++b) {
      std::vector<TokenId> row;
      for (std::size_t n = 0; n < length; ++n) row.push_back(static_cast<TokenId>(ids[b * length + n]));
      result.tokens.push_back(row);
    }
    for (const std::int64_t visible : mask) result.hidden.push_back(visible == 0 ? 1 : 0);
    return result;
  }

  static GoldenBatch ragged(const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& mask, Index batch) {
    GoldenBatch result;
    const auto length = ids.size() / static_cast<std::size_t>(batch);
    for (std::size_t b = 0; b < static_cast<std::size_t>(batch); ++b) {
      std::vector<TokenId> row;
      for (std::size_t n = 0; n < length; ++n)
        if (mask[b * length + n] != 0) row.push_back(static_cast<TokenId>(ids[b * length + n]));
      result.tokens.push_back(row);
    }
    return result;
  }
};

template <Real Scalar>
std::vector<double> to_numbers(const Matrix<Scalar>& m) {
  std::vector<double> result;
  for (Index i = 0; i < m.size(); ++i) result.push_back(static_cast<double>(m.data()[i]));
  return result;
}

template <Real Scalar>
std::vector<double> to_numbers(const std::vector<Scalar>& values) {
  return {values.begin(), values.end()};
}

}  // namespace merganser::testing
