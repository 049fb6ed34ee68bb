// Any text as the trainer.json and as the manifest.json of a checkpoint.
#include <merganser/io/checkpoints/checkpoint_manifest.hpp>
#include <merganser/io/checkpoints/checkpoint_record.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

namespace {

void check_record(std::string_view text) {
  const auto record = unless_refused([&] { return io::parse_checkpoint_record(text, "trainer"); });
  if (!record) return;
  require(record->scalar == io::DataType::f32 || record->scalar == io::DataType::f64, "a scalar of ours");
  require(record->step >= 0 && record->attempts >= record->step, "every step was an attempt");
  require(record->rng.state() != Rng::State{} && record->data.random.state() != Rng::State{}, "generators that go on");
  require(record->data.position >= 0 && record->collapsed_steps >= 0, "counts are not negative");
  // Texts, because NaN is not equal to itself.
  const std::string once = io::to_json(*record);
  require(io::to_json(io::parse_checkpoint_record(once, "again")) == once, "a record comes back");
}

void check_manifest(std::string_view text) {
  const auto manifest = unless_refused([&] { return io::parse_checkpoint_manifest(text, "manifest"); });
  if (!manifest) return;
  for (const auto& [name, digest] : manifest->files)
    require(!name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
                name.find('\0') == std::string::npos,
            "files lie beside the manifest");
  require(io::parse_checkpoint_manifest(io::to_json(*manifest), "again") == *manifest, "a manifest comes back");
}

}  // namespace

void run(std::string_view text) {
  check_record(text);
  check_manifest(text);
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
