// Rows and folders for the tests of curves.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

#include <merganser/runs/curve_row.hpp>

namespace merganser::runs {

inline RunRow row_of(const std::string& settings, const std::string& evaluation = "") {
  RunRow row;
  row.settings = settings;
  row.base = "base";
  row.task = "denoise";
  row.data = "data";
  row.policy = "learned";
  row.target = 0.1;
  row.seed = std::numeric_limits<std::uint64_t>::max();
  row.hard.deletion_rate = 1.0 / 3;
  row.hard.bits_per_byte = 0.25;
  row.everything.bits_per_byte = std::numeric_limits<double>::infinity();
  row.steps = 2500;
  row.origin.evaluation = evaluation;
  return row;
}

inline RunRow row_with_languages(const std::string& settings) {
  RunRow row = row_of(settings);
  for (const char* name : {"en", "a,\"b\"\n"}) {
    LanguageRow language;
    language.language = name;
    language.characters = 7;
    language.premium_after = 1.5;
    row.languages.push_back(language);
  }
  return row;
}

/// A folder that goes when the test is over.
struct CurveFolder {
  explicit CurveFolder(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("merganser_" + name + "_test")) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  CurveFolder(const CurveFolder&) = delete;
  CurveFolder& operator=(const CurveFolder&) = delete;
  ~CurveFolder() { std::filesystem::remove_all(path); }

  const std::filesystem::path path;
};

}  // namespace merganser::runs
