// The calibration.json of a model directory: what each threshold made of a sample.
#pragma once

#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/evaluation/calibration.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/file_digest.hpp>
#include <merganser/io/files/machine_name.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/io/files/warning.hpp>
#include <merganser/io/models/weight_files.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::io {

inline constexpr std::string_view calibration_file_name = "calibration.json";

/// What a table was measured with; empty where nobody wrote it down, as in version 1 of the file.
struct CalibrationOrigin {
  std::string weights;  ///< `weights_digest` of the model
  std::string machine;  ///< `machine_name`, for the times

  bool operator==(const CalibrationOrigin&) const = default;
};

namespace detail {

inline constexpr Index calibration_version = 2;  // 1 said nothing of weights and machine

inline constexpr std::array<Choice<merge::DeletionMode>, 1> calibration_modes{{{"hard", merge::DeletionMode::hard}}};

inline constexpr std::array<Choice<merge::SurvivorBias>, 2> calibration_biases{
    {{"kept", merge::SurvivorBias::kept}, {"dropped", merge::SurvivorBias::dropped}}};

inline evaluation::CalibrationPoint parse_calibration_point(const JsonFields& fields) {
  fields.allow_only({"threshold", "deletion_rate", "bits_per_byte", "token_accuracy", "sequence_accuracy",
                     "milliseconds_per_kilobyte"});
  const auto number = [&fields](std::string_view key, JsonFields::Accept accept, std::string_view expected) {
    return fields.required(fields.number(key, accept, expected), key, expected);
  };
  const auto finite = [&](std::string_view key) {
    return number(
        key, [](double value) { return std::isfinite(value); }, "a finite number");
  };
  const auto share = [&](std::string_view key) {
    return number(
        key, [](double value) { return value >= 0 && value <= 1; }, "a number in [0, 1]");
  };
  const auto amount = [&](std::string_view key) {
    return number(
        key, [](double value) { return value >= 0 && std::isfinite(value); }, "a finite number from 0");
  };
  evaluation::CalibrationPoint point;
  point.threshold = finite("threshold");
  point.deletion_rate = share("deletion_rate");
  point.bits_per_byte = amount("bits_per_byte");
  point.token_accuracy = share("token_accuracy");
  point.sequence_accuracy = share("sequence_accuracy");
  point.milliseconds_per_kilobyte = amount("milliseconds_per_kilobyte");
  return point;
}

}  // namespace detail

/// The checksum of the weight files of a directory, 16 digits for each; empty if there are none. Saving a model again
/// in the same precision does not change it.
/// @throws IoError if a file can't be read
inline std::string weights_digest(const std::filesystem::path& directory) {
  std::string digest;
  for (const std::string& name : detail::weight_file_names(directory))
    digest += (digest.empty() ? "" : " ") + hexadecimal(digest_file(directory / name).crc64);
  return digest;
}

namespace detail {

/// Both parts of a file.
struct StoredCalibration {
  evaluation::Calibration table;
  CalibrationOrigin origin;
};

inline void warn_of_origin(const CalibrationOrigin& origin, const std::filesystem::path& directory,
                           const std::string& file, const WarningCallback& on_warning) {
  if (origin.weights.empty())
    warn(on_warning, file, "weights", "are not named: it may be of others than those beside it");
  else if (origin.weights != weights_digest(directory))
    warn(on_warning, file, "weights", "are others than those beside it: rates and quality may differ; calibrate anew");
  const std::string here = machine_name();
  if (!origin.machine.empty() && !here.empty() && origin.machine != here)
    warn(on_warning, file, "machine", "is " + origin.machine + ", and this one " + here + ": times may differ");
}

inline StoredCalibration parse_stored_calibration(std::string_view text, const std::string& file_name) {
  const nlohmann::json object = detail::parse_json_object(text, file_name, "file");
  const detail::JsonFields fields(object, file_name);
  const auto whole = [&fields](std::string_view key, Index low, Index high) {
    return fields.required(fields.integer(key, low, high), key, "a whole number from " + std::to_string(low));
  };
  const bool says_of_what = whole("version", 1, detail::calibration_version) > 1;
  if (says_of_what)
    fields.allow_only(
        {"version", "mode", "survivor_bias", "source_bytes", "sequences", "threads", "points", "weights", "machine"});
  else
    fields.allow_only({"version", "mode", "survivor_bias", "source_bytes", "sequences", "threads", "points"});
  fields.required(fields.choice("mode", detail::calibration_modes), "mode", R"("hard")");
  evaluation::CalibrationSample sample;
  sample.survivor_bias = fields.required(fields.choice("survivor_bias", detail::calibration_biases), "survivor_bias",
                                         R"("kept" or "dropped")");
  sample.source_bytes = whole("source_bytes", 1, std::numeric_limits<Index>::max());
  sample.sequences = whole("sequences", 1, std::numeric_limits<Index>::max());
  sample.threads = static_cast<int>(whole("threads", 1, std::numeric_limits<int>::max()));
  CalibrationOrigin origin;
  if (says_of_what) {
    origin.weights = fields.required(fields.text("weights"), "weights", "a text");
    origin.machine = fields.required(fields.text("machine"), "machine", "a text");
  }
  std::vector<evaluation::CalibrationPoint> points;
  detail::for_each_object(
      object, fields, "points", file_name, "", [&](const detail::JsonFields& of_point, const nlohmann::json&) {
        const evaluation::CalibrationPoint point = detail::parse_calibration_point(of_point);
        if (!points.empty() && points.back().threshold >= point.threshold)
          of_point.fail("threshold", to_text(point.threshold), "more than that of the point before");
        points.push_back(point);
      });
  if (points.empty()) fields.fail("points", "no points", "one at least");
  return {evaluation::Calibration(std::move(points), sample), std::move(origin)};
}

}  // namespace detail

/// Reads the text of a calibration.json; `file_name` stands for it in errors.
/// @throws IoError if the text is no JSON object, a key is missing or unknown, a value is out of its range, thresholds
///   do not rise, or there is no point
inline evaluation::Calibration parse_calibration(std::string_view text, const std::string& file_name) {
  return detail::parse_stored_calibration(text, file_name).table;
}

/// Reads `directory`/calibration.json, and warns if it is not of the weights beside it or its times are not of this
/// machine.
/// @throws IoError if the file or the weights can't be read, or as `parse_calibration`
inline evaluation::Calibration read_calibration(const std::filesystem::path& directory,
                                                const WarningCallback& on_warning = {}) {
  const std::filesystem::path path = directory / calibration_file_name;
  detail::StoredCalibration stored =
      detail::parse_stored_calibration(read_text_file(path, detail::json_size_limit), path.string());
  if (on_warning) detail::warn_of_origin(stored.origin, directory, path.string(), on_warning);
  return std::move(stored.table);
}

/// The text of a calibration.json, a point a line; every number comes back from it with all its bits.
inline std::string to_json(const evaluation::Calibration& calibration, const CalibrationOrigin& origin = {}) {
  const evaluation::CalibrationSample& sample = calibration.sample();
  const bool says_of_what = origin != CalibrationOrigin();
  nlohmann::ordered_json head = {{"version", says_of_what ? detail::calibration_version : 1},
                                 {"mode", detail::word_of(merge::DeletionMode::hard, detail::calibration_modes)},
                                 {"survivor_bias", detail::word_of(sample.survivor_bias, detail::calibration_biases)},
                                 {"source_bytes", sample.source_bytes},
                                 {"sequences", sample.sequences},
                                 {"threads", sample.threads}};
  if (says_of_what) head.update({{"weights", origin.weights}, {"machine", origin.machine}});
  std::string text = head.dump();
  text.back() = ',';
  text += "\"points\":[";
  const char* separator = "\n";
  for (const evaluation::CalibrationPoint& point : calibration.points()) {
    const nlohmann::ordered_json object = {{"threshold", point.threshold},
                                           {"deletion_rate", point.deletion_rate},
                                           {"bits_per_byte", point.bits_per_byte},
                                           {"token_accuracy", point.token_accuracy},
                                           {"sequence_accuracy", point.sequence_accuracy},
                                           {"milliseconds_per_kilobyte", point.milliseconds_per_kilobyte}};
    text += separator + object.dump();
    separator = ",\n";
  }
  return text + "\n]}\n";
}

/// Writes `directory`/calibration.json, all of it or nothing, beside the model that it is of, whose weights it names,
/// as well as this machine.
/// @throws IoError if the weights can't be read or the file can't be written
inline void write_calibration(const evaluation::Calibration& calibration, const std::filesystem::path& directory) {
  write_file_atomically(directory / calibration_file_name,
                        to_json(calibration, {weights_digest(directory), machine_name()}));
}

}  // namespace merganser::io
