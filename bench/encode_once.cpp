// One job, one JSON line: how long it takes, and what share of the machine's limits that is.
//
//   encode_once --shape small|demo --bytes N --deletion 0.5 --threads T --repetitions R
//               --mode encode|encode_decode|generate|ragged|train --weights f32|bf16 --seed S
//
// The first repetition is not timed; peak memory (VmHWM) is that of the process after it, the model included. Where
// arithmetic is the limit the line has `peak_share`: useful floating-point operations / (median time * peak). For
// generate it has `bandwidth_share`: bytes of weights read / (median time * read bandwidth), and `floor_share`, the
// cost model's least time / median time. `cpu_share` is the processor time of the median over threads * median time:
// well below 1 with one thread, the machine was busy and the other shares are too low by as much.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <merganser/io/files/json_lines.hpp>
#include <merganser/runs/option.hpp>

#include <command_line/option_parser.hpp>

#include <merganser/runs/peak_memory.hpp>

#include "measure/measurement.hpp"
#include "measure/program.hpp"
#include "measure/shapes.hpp"
#include "measure/work.hpp"

namespace {

using namespace merganser;
using namespace merganser::bench;

struct Arguments {
  Job job;
  std::optional<Index> bytes;
  int repetitions = 5;
};

template <class Value>
runs::Choices<Value> named(const std::vector<Value>& values) {
  runs::Choices<Value> choices;
  for (const Value value : values) choices.emplace_back(name_of(value), value);
  return choices;
}

runs::OptionTable option_table(Arguments& arguments) {
  using runs::choice_option;
  using runs::count_option;
  constexpr runs::OptionRole here = runs::OptionRole::process;
  Job& job = arguments.job;
  return {
      choice_option("--shape", "small (ByT5-small) or demo, the default", here, job.shape,
                    named<Shape>({Shape::small, Shape::demo})),
      choice_option("--mode", "encode (the default), encode_decode, generate, ragged or train", here, job.mode,
                    named<Mode>({Mode::encode, Mode::encode_decode, Mode::generate, Mode::ragged, Mode::train})),
      choice_option("--weights", "f32 (the default) or bf16", here, job.weights,
                    named<Weights>({Weights::f32, Weights::bf16})),
      count_option("--bytes", "Of the longest text; 1024 unless given, training 256", here, arguments.bytes, 1,
                   1 << 24),
      runs::number_option("--deletion", "Share of the tokens that the gate deletes", here, job.deletion, 0, 1),
      count_option("--threads", "Of all loops", here, job.threads, 1, 1024),
      count_option("--repetitions", "Timed ones", here, arguments.repetitions, 1, 1000000),
      count_option("--seed", "Of weights and text", here, job.seed, 0, std::numeric_limits<decltype(job.seed)>::max())};
}

std::string measured_line(const Arguments& arguments) {
  const Job& job = arguments.job;
  ModelShelf shelf;
  Work work(job, shelf);
  work.run();
  const double peak_memory = runs::peak_memory_bytes();
  const bool reads = job.mode == Mode::generate;
  const auto reader = reads ? std::make_unique<MemoryReader>() : nullptr;
  const Timing timing = measure(work, arguments.repetitions, reader.get());
  const Account account = work.account();
  const Shares share = shares(account, timing);
  const double seconds = timing.median_seconds();

  io::JsonObject line;
  line.set("shape", name_of(job.shape)).set("mode", name_of(job.mode)).set("bytes", job.bytes);
  line.set("instruction_set", instruction_set).set("threads", job.threads).set("weights", name_of(job.weights));
  line.set("repetitions", arguments.repetitions).set("median_ms", 1e3 * seconds);
  line.set("cpu_share", timing.cpu_share(job.threads));
  if (reads) {
    line.set("bandwidth_share", share.bandwidth_share).set("floor_share", share.floor_share);
    line.set("weight_gb_per_second", account.bytes_read / seconds / 1e9);
    line.set("read_bandwidth_gb_per_second", timing.limits.bandwidth() / 1e9);
  } else {
    line.set("peak_share", share.peak_share);
  }
  line.set("deletion_rate", account.deletion_rate).set("flops", account.flops);
  line.set("fma_peak_gflops", timing.limits.peak() / 1e9);
  return line.set("peak_memory_bytes", static_cast<std::int64_t>(peak_memory)).line();
}

}  // namespace

int bench_program(int argc, char** argv) {
  return command_line::run_program("encode_once", [&] {
    CLI::App app("Times one job of the library and prints one line of JSON.");
    command_line::wrap_help(app);
    Arguments arguments;
    command_line::add_options(app, option_table(arguments));
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success& help) {
      return app.exit(help);
    }
    arguments.job.bytes = arguments.bytes.value_or(arguments.job.mode == Mode::train ? 256 : 1024);
    std::puts(measured_line(arguments).c_str());
    return EXIT_SUCCESS;
  });
}
