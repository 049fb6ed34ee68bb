// Loading a model of the size of ByT5-small for inference, mapped and in memory: seconds and peak memory, each in a
// process of its own.
//
//   load_model FOLDER [--tiny]
//
// Makes FOLDER/f32 (one file, 1.2 GB), FOLDER/f16 (one file) and FOLDER/bf16 (shards of 200 MB) with random weights
// unless they are there, and loads each twice: with the files out of the system's cache, as far as it lets go of them,
// and then with them in it; the last column is the peak against the bytes of the files. --tiny takes a model of 0.2 M
// parameters. Peak memory is VmHWM of /proc/self/status, where there is one.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/runs/peak_memory.hpp>

#include "measure/program.hpp"
#include "measure/shapes.hpp"

namespace {

using namespace merganser;
using bench::Model;
namespace fs = std::filesystem;

constexpr double mebibyte = 1024.0 * 1024.0;

enum class Size { byt5_small, tiny };

/// Plain ByT5.
Model::Config model_config(Size size) {
  Model::Config config = bench::model_config(bench::Shape::small);
  config.encoder.softmax = nn::SoftmaxKind::softmax;
  if (size == Size::byt5_small) return config;
  config.encoder.width = 64;
  config.encoder.heads = 2;
  config.encoder.head_width = 16;
  config.encoder.feed_forward_width = 128;
  config.encoder.blocks = 3;
  config.decoder_blocks = 1;
  return config;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Runs a job in a child process, so that its peak memory is its own.
/// @throws std::runtime_error if it fails
void in_child(const std::function<void()>& job) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    int status = EXIT_SUCCESS;
    try {
      job();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "load_model: %s\n", error.what());
      status = EXIT_FAILURE;
    }
    std::fflush(stdout);
    ::_exit(status);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) throw std::runtime_error("a child failed");
}

double weight_bytes(const fs::path& directory) {
  double bytes = 0;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().extension() == ".safetensors") bytes += static_cast<double>(entry.file_size());
  return bytes;
}

void forget_cached(const fs::path& directory) {
#ifdef POSIX_FADV_DONTNEED
  for (const auto& entry : fs::directory_iterator(directory)) {
    const int file = ::open(entry.path().c_str(), O_RDONLY);
    if (file < 0) continue;
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }
#endif
}

void make_directories(const fs::path& folder, Size size) {
  const std::uint64_t shard = size == Size::tiny ? 100'000 : 200'000'000;
  const std::vector<std::pair<const char*, io::WeightFormat>> formats{
      {"f32", {}},
      {"f16", {.dtype = io::DataType::f16, .max_shard_bytes = {}}},
      {"bf16", {.dtype = io::DataType::bf16, .max_shard_bytes = shard}}};
  std::optional<Model> model;
  for (const auto& [name, format] : formats) {
    if (fs::exists(folder / name / "config.json")) continue;
    if (!model) bench::fill_weights(model.emplace(model_config(size)), 1);
    io::save_model(*model, folder / name, format);
  }
}

void load_once(const fs::path& directory, io::Mapping mapping, const char* cache) {
  const double before = runs::peak_memory_bytes() / mebibyte;
  io::LoadModelOptions options;
  options.mapping = mapping;
  auto start = std::chrono::steady_clock::now();
  const Model model = io::load_for_inference<float>(directory, options);
  const double load_seconds = seconds_since(start);
  const double peak = runs::peak_memory_bytes() / mebibyte;
  const double weights = weight_bytes(directory) / mebibyte;

  TokenBatch source;
  source.push_back(data::ByteTokenizer().encode("A merganser dives for fish and keeps only what it needs."));
  start = std::chrono::steady_clock::now();
  const Index kept = model.encode(source).hidden.total();
  const double encode_seconds = seconds_since(start);
  if (kept != source.total()) throw std::runtime_error("an encode that lost tokens");
  std::printf("%-6s %-10s %-6s %9.1f %9.2f %9.1f %9.1f %9.3f %9.3f\n", directory.filename().c_str(),
              mapping == io::Mapping::mapped ? "mapped" : "in memory", cache, weights, load_seconds, peak, before,
              encode_seconds, peak / weights);
}

}  // namespace

int bench_program(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || arguments.size() > 2 || (arguments.size() == 2 && arguments[1] != "--tiny")) {
    std::fprintf(stderr, "usage: load_model FOLDER [--tiny]\n");
    return EXIT_FAILURE;
  }
  const fs::path folder = arguments[0];
  const Size size = arguments.size() == 2 ? Size::tiny : Size::byt5_small;
  try {
    in_child([&] { make_directories(folder, size); });
    std::printf("%-6s %-10s %-6s %9s %9s %9s %9s %9s %9s\n", "files", "read", "cache", "file MiB", "load s", "peak MiB",
                "start MiB", "encode s", "peak/file");
    for (const char* name : {"f32", "f16", "bf16"})
      for (const io::Mapping mapping : {io::Mapping::mapped, io::Mapping::in_memory})
        for (const char* cache : {"cold", "warm"})
          in_child([&] {
            if (cache == std::string("cold")) forget_cached(folder / name);
            load_once(folder / name, mapping, cache);
          });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "load_model: %s\n", error.what());
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
