// One golden case directory: its model, its tensors as ragged batches, and comparison within the stated tolerances.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/io/files/safetensors.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/models/encoder_decoder.hpp>

#include "support/golden_dir.hpp"

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
std::vector<double> to_numbers(const Vector<Scalar>& values) {
  return {values.begin(), values.end()};
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(io::read_text_file(path));
}

/// The parts of one case directory that every check reads.
template <Real Scalar>
struct Case {
  using Model = models::EncoderDecoder<Scalar>;

  explicit Case(const std::filesystem::path& path)
      : directory(path),
        about(read_json(path / "case.json")),
        file(io::SafetensorsFile::open(path / "case.safetensors")),
        model(io::load_model<Scalar>(path)) {}

  /// The prefix under which the expected values of this precision stand: "soft." or "f64.soft."
  std::string expected(const std::string& prefix) const { return sizeof(Scalar) == 4 ? prefix : "f64." + prefix; }

  std::filesystem::path directory;
  nlohmann::json about;
  io::SafetensorsFile file;
  Model model;
  GoldenReport report;
};

inline TokenBatch labels_of(const io::SafetensorsFile& file, const std::string& name) {
  return GoldenBatch::padded(file.integers(name), {}, file.tensor(name).shape.at(0)).tokens;
}

/// Compares a quantity with the value of this precision where there is one, and with the single one besides.
template <Real Scalar, class Select>
void compare(Case<Scalar>& c, const std::string& prefix, const std::string& name, const std::vector<double>& got,
             Select&& select) {
  const std::string exact = c.expected(prefix) + name;
  if (sizeof(Scalar) == 8 && c.file.contains(exact))
    c.report.template compare<double>(exact, got, select(to_numbers(c.file.template folded_matrix<double>(exact))));
  if (c.file.contains(prefix + name))
    c.report.template compare<float>(prefix + name, got,
                                     select(to_numbers(c.file.template folded_matrix<double>(prefix + name))));
}

template <Real Scalar>
void compare(Case<Scalar>& c, const std::string& prefix, const std::string& name, const std::vector<double>& got) {
  compare(c, prefix, name, got, [](std::vector<double> values) { return values; });
}

/// The shortest name that stands for a quantity in the printed line: gradients and weights share one each.
inline std::string group_of(const std::string& quantity) {
  for (const char* group : {"hard.grad.", "grad.", "after."}) {
    const std::size_t at = quantity.find(group);
    if (at != std::string::npos) return quantity.substr(0, at) + std::string(group) + "*";
  }
  return quantity;
}

/// Prints the largest error of every quantity; true if all were within tolerance, and there was one.
template <Real Scalar>
bool finish(const Case<Scalar>& c) {
  std::map<std::string, double> largest;
  for (const auto& [quantity, error] : c.report.errors()) {
    double& worst = largest[group_of(quantity)];
    worst = std::max(worst, error);
  }
  std::printf("%s %-22s %s", c.report.failed() ? "MISS" : "ok  ", c.directory.filename().c_str(),
              sizeof(Scalar) == 4 ? "float " : "double");
  for (const auto& [quantity, error] : largest) std::printf(" %s %.1e", quantity.c_str(), error);
  std::printf("\n");
  for (const std::string& why : c.report.misses()) std::printf("     %s\n", why.c_str());
  return !c.report.failed() && !c.report.errors().empty();
}

/// All case directories, in the order of their names.
inline std::set<std::filesystem::path> case_directories() {
  std::set<std::filesystem::path> directories;
  for (const auto& entry : std::filesystem::directory_iterator(golden_dir()))
    if (std::filesystem::exists(entry.path() / "case.safetensors")) directories.insert(entry.path());
  return directories;
}

/// The baselines of the published paper that pool tokens in place of deleting them.
inline bool is_pooling(const std::filesystem::path& directory) {
  const std::string kind = read_json(directory / "case.json").at("kind");
  return kind == "bpt5" || kind == "canine";
}

}  // namespace merganser::testing
