// Saves a model to a temporary directory, loads it again, and lets several threads run the one loaded model at the same
// time: inference only reads, so a const model needs no lock. Each thread runs the whole model and generates from it;
// the loops inside share one pool of two more threads. Prints a line a thread: the tokens it kept and whether all its
// logits and generated ids are, bit for bit, those of a single thread.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <merganser/io/models/model_directory.hpp>
#include <merganser/merganser.hpp>

namespace {

using namespace merganser;
using Model = models::EncoderDecoder<float>;

/// A directory of its own, removed at the end whatever happens.
struct TemporaryDirectory {
  std::filesystem::path path;

  TemporaryDirectory() {
    for (int number = 0; path.empty(); ++number) {
      const auto candidate = std::filesystem::temp_directory_path() / ("merganser-example-" + std::to_string(number));
      if (std::filesystem::create_directory(candidate)) path = candidate;
    }
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

Model make_model() {
  Model::Config config;
  config.encoder.blocks = 3;
  Model model(config, {merge::before_block(1, merge::DeleteGate<float>({.width = config.encoder.width}))});
  Rng rng(1);
  model.initialize(rng, 1.0);
  // As if trained: about half of the tokens go.
  model.encoder.policies[0].policy.target<merge::DeleteGate<float>>()->bias(0) = 0;
  return model;
}

TokenBatch encode(const std::vector<std::string>& texts) {
  TokenBatch batch;
  for (const std::string& text : texts) batch.push_back(data::ByteTokenizer().encode(text));
  return batch;
}

}  // namespace

int main() {
  const TemporaryDirectory directory;
  io::save_model(make_model(), directory.path);
  const Model model = io::load_for_inference<float>(directory.path);

  const TokenBatch source = encode({"a merganser dives for fish", "", "and keeps only what it needs"});
  const TokenBatch target = encode({"it dives", "nothing", "it keeps"});
  models::GenerationOptions drawn;
  drawn.max_length = 12;
  drawn.sampling.method = models::Sampling::random;
  const auto run = [&] { return model.forward_targets(source, target, {}); };
  const auto generate = [&] { return models::generate(model, source, drawn).ids; };
  const auto search = [&] { return models::beam_search(model, source, {.max_length = 6, .beams = 2}).best(); };
  const Model::Output alone = run();
  const TokenBatch drawn_alone = generate(), found_alone = search();

  constexpr std::size_t thread_count = 8;
  std::vector<Index> kept(thread_count, 0);
  std::vector<std::uint8_t> same(thread_count, 1);
  ThreadPool pool(3);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < thread_count; ++i)
    threads.emplace_back([&, i] {
      const ExecutorScope scope(pool);
      for (int repeat = 0; repeat < 5; ++repeat) {
        const Model::Output output = run();
        kept[i] = output.encoded.hidden.total();
        if (output.logits != alone.logits || output.encoded.origin != alone.encoded.origin) same[i] = 0;
        if (generate() != drawn_alone || search() != found_alone) same[i] = 0;
      }
    });
  for (std::thread& thread : threads) thread.join();

  bool all_same = true;
  for (std::size_t i = 0; i < thread_count; ++i) {
    std::printf("thread %d kept %d of %d tokens: %s\n", static_cast<int>(i), static_cast<int>(kept[i]),
                static_cast<int>(source.total()), same[i] != 0 ? "same bits" : "different");
    all_same = all_same && same[i] != 0;
  }
  return all_same ? 0 : 1;
}
