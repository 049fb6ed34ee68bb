// Which lines of a file are held out for validation.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// A number that hangs on the bytes of a line alone; the same on every machine (FNV-1a, mixed once more).
inline std::uint64_t line_hash(std::string_view line) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : line) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return Rng(hash).next();
}

/// For every line whether it is held out: of each class the given share of its different lines, those of lowest hash.
///
/// So it depends neither on the order of the lines nor on the machine, every class is scored in the proportion that it
/// has, and equal lines are never on both sides. A class with at least two different lines has some on either side; one
/// with a single line is not held out. `classes` [lines], any numbers, or empty: all lines are of one class.
/// @throws std::invalid_argument if the share is not in (0, 1), or classes are given but not one a line
inline std::vector<bool> held_out(std::span<const std::string_view> lines, std::span<const Index> classes,
                                  double share) {
  check_argument(share > 0 && share < 1, "held_out", "share", share, "a fraction between 0 and 1");
  if (!classes.empty()) check_equal("held_out", "classes.size()", classes.size(), lines.size());
  const auto class_of = [&](std::size_t i) { return classes.empty() ? Index{0} : classes[i]; };
  std::vector<std::uint64_t> hashes;
  std::map<Index, std::vector<std::uint64_t>> of_class;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    hashes.push_back(line_hash(lines[i]));
    of_class[class_of(i)].push_back(hashes.back());
  }
  for (auto& [name, own] : of_class) {  // leaves those held out
    std::sort(own.begin(), own.end());
    own.erase(std::unique(own.begin(), own.end()), own.end());
    const auto count = static_cast<Index>(own.size());
    const auto wanted = static_cast<Index>(std::lround(share * static_cast<double>(count)));
    own.resize(static_cast<std::size_t>(count < 2 ? 0 : std::clamp<Index>(wanted, 1, count - 1)));
  }
  std::vector<bool> result;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::vector<std::uint64_t>& own = of_class[class_of(i)];
    result.push_back(std::binary_search(own.begin(), own.end(), hashes[i]));
  }
  return result;
}

}  // namespace merganser::data
