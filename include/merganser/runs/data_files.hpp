// The files of a training run: their names, what is held back of them, and what tells their contents apart.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/held_out.hpp>
#include <merganser/data/text_corpus.hpp>
#include <merganser/io/files/file_digest.hpp>
#include <merganser/runs/option.hpp>
#include <merganser/runs/run_options.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

inline constexpr Index held_back_share = 10;  // one part in so many is for evaluation

/// What the contents of files are called among settings.
inline constexpr std::string_view content_prefix = "content of ";

/// Size and checksum: tells files apart without keeping them.
inline std::string content_of(std::string_view text) {
  io::Crc64 crc;
  crc.update(text);
  return std::to_string(text.size()) + " bytes with checksum " + io::hexadecimal(crc.value());
}

/// Marks about a tenth of the lines as held back for evaluation, by what they hold; see `data::held_out`.
/// @param path of their file, for the error
/// @throws IoError if there is none to hold back, or none to train on
inline std::vector<std::uint8_t> hold_back(const std::vector<std::string>& lines,
                                           const std::vector<std::string>& strata, const std::string& path) {
  std::vector<std::uint8_t> held = data::held_out(lines, held_back_share, strata);
  if (std::count(held.begin(), held.end(), std::uint8_t{1}) == 0)
    throw IoError(path, "lines", "no two that differ", "two at least, one of them held back, or --valid");
  return held;
}

/// At most so many, evenly from all.
template <class Value>
std::vector<Value> spread(const std::vector<Value>& all, std::size_t most) {
  const std::size_t count = std::min(all.size(), most);
  std::vector<Value> chosen;
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(all[i * all.size() / count]);
  return chosen;
}

/// The text of a file; what it holds is noted under the option that names it.
/// @throws IoError as `data::read_text`
inline std::string read_file(const std::string& option, const TextFile& file, Settings& contents) {
  std::string text = data::read_text(file.path);
  const std::string language = file.language.empty() ? "" : " " + file.language;
  contents[std::string(content_prefix) + option + language] = content_of(text);
  return text;
}

/// The file to evaluate a language on; null without any.
/// @throws std::invalid_argument if others have one
inline const TextFile* valid_of(const DataOptions& options, const std::string& language) {
  if (options.valid.empty()) return nullptr;
  for (const TextFile& file : options.valid)
    if (file.language == language) return &file;
  throw std::invalid_argument(language.empty() ? std::string("--valid names a language and the text has none")
                                               : "--valid has no file for " + language);
}

/// @throws std::invalid_argument if two files have one name, or a file to evaluate on belongs to none of them
inline void check_names(const DataOptions& options, const std::vector<TextFile>& files) {
  std::set<std::string> names;
  for (const TextFile& file : files)
    if (!names.insert(file.language).second)
      throw std::invalid_argument(file.language.empty() ? std::string("several files need names, such as en=FILE")
                                                        : "two files for " + file.language);
  for (const TextFile& file : options.valid)
    if (!names.contains(file.language)) throw std::invalid_argument("--valid " + file.path + " belongs to no text");
  if (options.valid.size() > files.size()) throw std::invalid_argument("--valid has several files for one text");
}

}  // namespace merganser::runs
