// A training step: 16 texts of 256 bytes with targets of 64, soft deletion, AdamW.
//
// `small` (5 GB) runs only when --benchmark_filter is given.
#include <string>

#include "measure/benchmark_program.hpp"
#include "measure/program.hpp"
#include "measure/work.hpp"

namespace {

using namespace merganser;
using namespace merganser::bench;

void add_step(Shape shape, int threads) {
  const Job job{shape, Mode::train, 256, 0, threads};
  const std::string name = "BM_TrainingStep/shape:" + name_of(shape) + "/bytes:256/threads:" + std::to_string(threads);
  add_case(name, [job](benchmark::State& state) {
    ModelShelf unused;
    Work work(job, unused);
    work.run();
    Meter meter(state, job.threads, false);
    for (auto _ : state) work.run();
    const Account account = work.account();
    meter.finish({.flops = account.flops, .text_bytes = account.text_bytes});
  });
}

void add_cases(Selection selection) {
  for (const int threads : {1, 2}) {
    add_step(Shape::demo, threads);
    if (selection == Selection::all) add_step(Shape::small, threads);
  }
}

}  // namespace

int bench_program(int argc, char** argv) { return merganser::bench::run_program(argc, argv, add_cases); }
