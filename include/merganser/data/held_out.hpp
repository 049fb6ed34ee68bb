// Which examples are held out of training, to evaluate on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// 64 bits that hang on nothing but the bytes (FNV-1a with the finaliser of splitmix64); no defence against malice.
inline std::uint64_t line_hash(std::string_view line) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : line) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9U;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebU;
  return hash ^ (hash >> 31);
}

/// Marks about one line in `share` as held out, whatever order a file is in: [N], not 0 where it is.
///
/// Of every stratum the lines with the smallest hashes go, one in `share` and at least one, so that a split hangs on
/// the lines alone: it is the same in any order, and a line that is added moves few others. Equal lines of a stratum
/// stay together, so that none is trained on and asked for. A stratum of equal lines is all trained on.
/// @param strata [N] or empty: what each line belongs to, such as its label
/// @throws std::invalid_argument if share is below 2 or the sizes differ
inline std::vector<std::uint8_t> held_out(std::span<const std::string> lines, Index share,
                                          std::span<const std::string> strata = {}) {
  check_argument(share >= 2, "held_out", "share", share, "at least 2");
  if (!strata.empty())
    check_equal("held_out", "strata.size()", static_cast<Index>(strata.size()), static_cast<Index>(lines.size()));
  std::map<std::string_view, std::vector<std::pair<std::uint64_t, std::size_t>>> stratum_lines;
  for (std::size_t i = 0; i < lines.size(); ++i)
    stratum_lines[strata.empty() ? std::string_view() : strata[i]].emplace_back(line_hash(lines[i]), i);
  std::vector<std::uint8_t> held(lines.size(), 0);
  for (auto& [stratum, hashed] : stratum_lines) {
    std::sort(hashed.begin(), hashed.end());
    const std::size_t wanted = std::max<std::size_t>(hashed.size() / static_cast<std::size_t>(share), 1);
    const std::uint64_t last = hashed.back().first;  // stays, with its equals
    for (std::size_t k = 0; k < hashed.size() && hashed[k].first != last; ++k) {
      if (k >= wanted && hashed[k].first != hashed[k - 1].first) break;
      held[hashed[k].second] = 1;
    }
  }
  return held;
}

}  // namespace merganser::data
