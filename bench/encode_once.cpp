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
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include <CLI/CLI.hpp>

#include "measure/measurement.hpp"
#include "measure/peak_memory.hpp"
#include "measure/program.hpp"
#include "measure/shapes.hpp"
#include "measure/work.hpp"

namespace {

using namespace merganser;
using namespace merganser::bench;

/// One JSON object of numbers and of texts that need no escaping.
class JsonLine {
 public:
  void add(const std::string& key, const std::string& text) { append(key, "\"" + text + "\""); }
  void add(const std::string& key, std::int64_t number) { append(key, std::to_string(number)); }
  void add(const std::string& key, double number) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.6g", number);
    append(key, std::isfinite(number) ? digits : "null");
  }

  std::string text() const { return "{" + fields_ + "}"; }

 private:
  void append(const std::string& key, const std::string& value) {
    if (!fields_.empty()) fields_ += ", ";
    fields_ += "\"" + key + "\": " + value;
  }

  std::string fields_;
};

struct Arguments {
  Job job;
  int repetitions = 5;
};

template <class Value>
void add_choice(CLI::App& app, const std::string& name, Value& value, const std::vector<Value>& choices,
                const std::string& help) {
  std::vector<std::string> names;
  for (const Value choice : choices) names.push_back(name_of(choice));
  const auto assign = [&value, choices](const std::string& chosen) {
    for (const Value choice : choices)
      if (name_of(choice) == chosen) value = choice;
  };
  app.add_option_function<std::string>(name, assign, help)->check(CLI::IsMember(names))->option_text("NAME");
}

/// CLI::Range lets NaN pass.
std::string check_rate(const std::string& text) {
  double rate = 0;
  if (CLI::detail::lexical_cast(text, rate) && rate >= 0 && rate <= 1) return {};
  return text + " is not a rate from 0 to 1";
}

void add_options(CLI::App& app, Arguments& arguments) {
  Job& job = arguments.job;
  add_choice(app, "--shape", job.shape, {Shape::small, Shape::demo}, "small (ByT5-small) or demo, the default");
  add_choice(app, "--mode", job.mode, {Mode::encode, Mode::encode_decode, Mode::generate, Mode::ragged, Mode::train},
             "encode (the default), encode_decode, generate, ragged or train");
  add_choice(app, "--weights", job.weights, {Weights::f32, Weights::bf16}, "f32 (the default) or bf16");
  app.add_option("--bytes", job.bytes, "Of the longest text; 1024 unless given, training 256")
      ->check(CLI::Range(1L, 1L << 24))
      ->option_text("N");
  app.add_option("--deletion", job.deletion, "Share of the tokens that the gate deletes; 0 unless given")
      ->check(check_rate)
      ->option_text("RATE");
  app.add_option("--threads", job.threads, "1 unless given")->check(CLI::Range(1, 1024))->option_text("T");
  app.add_option("--repetitions", arguments.repetitions, "Timed ones; 5 unless given")
      ->check(CLI::Range(1, 1000000))
      ->option_text("R");
  app.add_option("--seed", job.seed, "Of weights and text; 1 unless given")->option_text("S");
}

std::string measured_line(const Arguments& arguments) {
  const Job& job = arguments.job;
  ModelShelf shelf;
  Work work(job, shelf);
  work.run();
  const double peak_memory = peak_memory_bytes();
  const bool reads = job.mode == Mode::generate;
  const auto reader = reads ? std::make_unique<MemoryReader>() : nullptr;
  const Timing timing = measure(work, arguments.repetitions, reader.get());
  const Account account = work.account();
  const Shares share = shares(account, timing);
  const double seconds = timing.median_seconds();

  JsonLine line;
  line.add("shape", name_of(job.shape));
  line.add("mode", name_of(job.mode));
  line.add("bytes", std::int64_t{job.bytes});
  line.add("instruction_set", std::string(instruction_set));
  line.add("threads", std::int64_t{job.threads});
  line.add("weights", name_of(job.weights));
  line.add("repetitions", std::int64_t{arguments.repetitions});
  line.add("median_ms", 1e3 * seconds);
  line.add("cpu_share", timing.cpu_share(job.threads));
  if (reads) {
    line.add("bandwidth_share", share.bandwidth_share);
    line.add("floor_share", share.floor_share);
    line.add("weight_gb_per_second", account.bytes_read / seconds / 1e9);
    line.add("read_bandwidth_gb_per_second", timing.limits.bandwidth() / 1e9);
  } else {
    line.add("peak_share", share.peak_share);
  }
  line.add("deletion_rate", account.deletion_rate);
  line.add("flops", account.flops);
  line.add("fma_peak_gflops", timing.limits.peak() / 1e9);
  line.add("peak_memory_bytes", static_cast<std::int64_t>(peak_memory));
  return line.text();
}

}  // namespace

int bench_program(int argc, char** argv) {
  CLI::App app("Times one job of the library and prints one line of JSON.");
  Arguments arguments;
  add_options(app, arguments);
  CLI11_PARSE(app, argc, argv);
  if (arguments.job.mode == Mode::train && app.count("--bytes") == 0) arguments.job.bytes = 256;
  try {
    std::puts(measured_line(arguments).c_str());
  } catch (const std::bad_alloc&) {
    std::fputs("encode_once: not enough memory\n", stderr);
    return EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "encode_once: %s\n", error.what());
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
