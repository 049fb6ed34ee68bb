// The list of a checkpoint's files with their sizes and checksums, written last: what it names is complete.
#pragma once

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/file_digest.hpp>
#include <merganser/io/files/strict_json.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// What a manifest.json says: file name to digest. Files are entries of the manifest's own directory.
struct CheckpointManifest {
  static constexpr std::string_view file_name = "manifest.json";
  static constexpr Index version = 1;

  std::map<std::string, FileDigest> files;

  bool operator==(const CheckpointManifest&) const = default;
};

namespace detail {

/// A whole number from 0 that fits 64 bits.
inline std::optional<std::uint64_t> unsigned_of(const nlohmann::json& value) {
  // The parser makes a float of whole numbers that don't fit.
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

inline std::optional<std::uint64_t> parse_hexadecimal(const std::string& text) {
  std::uint64_t value = 0;
  const char *begin = text.data(), *end = begin + text.size();
  const auto [stop, failure] = std::from_chars(begin, end, value, 16);
  if (failure != std::errc() || stop != end || hexadecimal(value) != text) return std::nullopt;
  return value;
}

/// True for the name of an entry of a directory.
inline bool is_entry_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

inline FileDigest read_digest(const nlohmann::json& value, const std::string& file, const std::string& field) {
  if (!value.is_object()) throw IoError(file, field, describe(value), "{bytes, crc64}");
  const JsonFields fields(value, file, field + ".");
  fields.allow_only({"bytes", "crc64"});
  for (const char* key : {"bytes", "crc64"})
    if (!value.contains(key)) fields.fail(key, "no such key", "a size or a checksum");
  const std::optional<std::uint64_t> bytes = unsigned_of(value["bytes"]);
  if (!bytes) fields.fail("bytes", describe(value["bytes"]), "a whole number of 64 bits");
  const nlohmann::json& sum = value["crc64"];
  const std::optional<std::uint64_t> crc64 =
      sum.is_string() ? parse_hexadecimal(sum.get_ref<const std::string&>()) : std::nullopt;
  if (!crc64) fields.fail("crc64", describe(sum), "16 hexadecimal digits in lower case");
  return {*bytes, *crc64};
}

}  // namespace detail

/// Reads the text of a manifest.json; `file_name` stands for it in errors.
/// @throws IoError if the text is no JSON object of `version` and `files`, a file is not the name of an entry, or its
/// size or checksum is none
inline CheckpointManifest parse_checkpoint_manifest(std::string_view text, const std::string& file_name) {
  const nlohmann::json object = detail::parse_json_object(text, file_name, "file");
  const detail::JsonFields fields(object, file_name);
  fields.required(fields.integer("version", CheckpointManifest::version, CheckpointManifest::version), "version", "1");
  fields.allow_only({"version", "files"});
  const nlohmann::json* files = fields.object("files");
  if (files == nullptr) fields.fail("files", "no such key", "an object of files");
  CheckpointManifest manifest;
  for (const auto& [name, digest] : files->items()) {
    if (!detail::is_entry_name(name))
      fields.fail("files." + name, "a path", "the name of a file in the directory of the manifest");
    manifest.files.emplace(name, detail::read_digest(digest, file_name, "files." + name));
  }
  return manifest;
}

/// The text of a manifest.json.
/// @throws std::invalid_argument if a name is not UTF-8 or not the name of an entry
inline std::string to_json(const CheckpointManifest& manifest) {
  nlohmann::json files = nlohmann::json::object();
  for (const auto& [name, digest] : manifest.files) {
    check_argument(detail::is_entry_name(name), "to_json", "files", name, "names of entries");
    files[name] = {{"bytes", digest.bytes}, {"crc64", hexadecimal(digest.crc64)}};
  }
  const nlohmann::json object = {{"version", CheckpointManifest::version}, {"files", std::move(files)}};
  try {
    return object.dump(2) + "\n";
  } catch (const nlohmann::json::exception&) {
    throw_invalid_argument("to_json", "files", "a name that is not UTF-8", "UTF-8");
  }
}

/// Writes the manifest of all files that are in a directory.
/// @throws IoError if a file can't be read or the manifest not be written
inline void write_checkpoint_manifest(const std::filesystem::path& directory) {
  CheckpointManifest manifest;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(directory, failure), end; !failure && entry != end;
       entry.increment(failure))
    manifest.files.emplace(entry->path().filename().string(), digest_file(entry->path()));
  if (failure) throw IoError(directory.string(), "directory", failure.message(), "a directory that can be read");
  manifest.files.erase(std::string(CheckpointManifest::file_name));
  write_file_atomically(directory / CheckpointManifest::file_name, to_json(manifest));
}

/// How far `check_manifest` looks.
enum class ManifestCheck {
  sizes,     ///< every file is there and has its size
  contents,  ///< and its checksum: reads all of them
};

/// Requires a directory to have a manifest and every file of it. Files that the manifest does not name are passed over.
/// @throws IoError if the manifest can't be read, or a file is missing, has another size or another checksum
inline CheckpointManifest check_manifest(const std::filesystem::path& directory, ManifestCheck check) {
  const std::filesystem::path path = directory / CheckpointManifest::file_name;
  CheckpointManifest manifest = parse_checkpoint_manifest(read_text_file(path, detail::json_size_limit), path.string());
  for (const auto& [name, expected] : manifest.files) {
    const std::filesystem::path file = directory / name;
    detail::require_regular_file(file);
    std::error_code failure;
    const std::uintmax_t bytes = std::filesystem::file_size(file, failure);
    if (failure) throw IoError(file.string(), "file", failure.message(), "a file whose size is known");
    if (bytes != expected.bytes)
      throw IoError(file.string(), "file", std::to_string(bytes) + " bytes",
                    std::to_string(expected.bytes) + ", as " + path.string() + " says");
    if (check == ManifestCheck::sizes) continue;
    const FileDigest got = digest_file(file);
    if (got != expected)
      throw IoError(file.string(), "file", "checksum " + hexadecimal(got.crc64),
                    hexadecimal(expected.crc64) + ", as " + path.string() + " says");
  }
  return manifest;
}

}  // namespace merganser::io
