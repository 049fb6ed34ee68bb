// Encoder passes with 0, 25, 50 and 75 % of the tokens deleted, encoder and decoder, ragged batches and generation, on
// the shapes `small` and `demo`.
//
// The cases that take longest (`small` at 2048 bytes and its ragged batches) run only when --benchmark_filter is given.
#include <memory>
#include <string>

#include "measure/benchmark_program.hpp"
#include "measure/program.hpp"
#include "measure/work.hpp"

namespace {

using namespace merganser;
using namespace merganser::bench;

void add_job(const std::string& type, const Job& job, const std::shared_ptr<ModelShelf>& shelf) {
  const std::string name = type + "/shape:" + name_of(job.shape) + "/bytes:" + std::to_string(job.bytes) +
                           "/deleted:" + std::to_string(static_cast<int>(100 * job.deletion)) +
                           "/threads:" + std::to_string(job.threads);
  add_case(name, [job, shelf](benchmark::State& state) {
    Work work(job, *shelf);
    work.run();
    Meter meter(state, job.threads, job.mode == Mode::generate);
    for (auto _ : state) work.run();
    const Account account = work.account();
    meter.finish({.flops = account.flops,
                  .bytes = account.bytes_read,
                  .text_bytes = account.text_bytes,
                  .kept = 1 - account.deletion_rate,
                  .bound_flops = account.bound_flops,
                  .more_bytes = account.cached_bytes});
  });
}

void add_cases(Selection selection) {
  const auto shelf = std::make_shared<ModelShelf>();
  for (const Shape shape : {Shape::demo, Shape::small}) {
    const bool small = shape == Shape::small, all = !small || selection == Selection::all;
    for (const int threads : {1, 2}) {
      for (const Index bytes : {256, 1024, 2048})
        for (const double deletion : {0.0, 0.25, 0.5, 0.75})
          if (all || bytes < 2048) add_job("BM_Encode", {shape, Mode::encode, bytes, deletion, threads}, shelf);
      for (const double deletion : {0.0, 0.5}) {
        add_job("BM_EncodeDecode", {shape, Mode::encode_decode, 1024, deletion, threads}, shelf);
        if (all) add_job("BM_Ragged", {shape, Mode::ragged, 1024, deletion, threads}, shelf);
        add_job("BM_Generate", {shape, Mode::generate, 1024, deletion, threads}, shelf);
      }
    }
  }
}

}  // namespace

int bench_program(int argc, char** argv) { return merganser::bench::run_program(argc, argv, add_cases); }
