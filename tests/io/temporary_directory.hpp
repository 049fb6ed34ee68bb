// A directory of its own for one test, removed with all that is in it.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace merganser::testing {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    for (int number = 0; path_.empty(); ++number) {
      const auto candidate = std::filesystem::temp_directory_path() / ("merganser-io-test-" + std::to_string(number));
      if (std::filesystem::create_directory(candidate)) path_ = candidate;
    }
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  /// The names of all entries, sorted.
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace merganser::testing
