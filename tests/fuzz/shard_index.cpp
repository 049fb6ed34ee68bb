// Any text as a model.safetensors.index.json.
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include <merganser/io/models/weight_files.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

namespace {

/// No file outside the directory is ever opened.
void check_place(const std::string& file) {
  require(!file.empty() && file.find('\0') == std::string::npos, "a file has a name");
  const std::filesystem::path place = (std::filesystem::path("/below/here") / file).lexically_normal();
  require(place.string().starts_with("/below/here/") && place.has_filename(), "a shard lies below the index");
}

std::string text_of(const io::ShardIndex& index) { return nlohmann::json{{"weight_map", index.weight_map}}.dump(); }

}  // namespace

void run(std::string_view text) {
  const auto index = unless_refused([&] { return io::parse_shard_index(text, "index"); });
  if (!index) return;
  for (const auto& [tensor, file] : index->weight_map) check_place(file);
  require(index->files().size() <= index->weight_map.size(), "every file holds a tensor");
  const io::ShardIndex again = io::parse_shard_index(text_of(*index), "again");
  require(again.weight_map == index->weight_map, "an index comes back");
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
