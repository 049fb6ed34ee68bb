// What the Google Benchmark programs share: limits measured first, counters, large cases only on request.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

#include <merganser/core/executor.hpp>
#include <merganser/core/instruction_set.hpp>
#include <merganser/core/thread_pool.hpp>

#include "machine_limits.hpp"

namespace merganser::bench {

/// Which cases a program registers.
enum class Selection {
  quick,  ///< a run in minutes
  all,    ///< --benchmark_filter is given, or the names are asked for
};

/// One reader a program, made when it is first needed, because its buffer takes some tenths of a second to fill.
inline const MemoryReader& memory_reader() {
  static const MemoryReader reader;
  return reader;
}

/// What one iteration of a case needs.
struct Demand {
  double flops = 0;
  double bytes = 0;         ///< read or written where memory is the limit, for `bandwidth_share`
  double text_bytes = 0;    ///< for `bytes_per_second`; 0: `bytes` it is
  double kept = 1;          ///< share of the tokens that reach the blocks behind the gate
  double bound_flops = -1;  ///< the part of `flops` that cannot hide behind memory; negative: all
  double more_bytes = 0;    ///< read besides `bytes`
};

/// Stands around the loop of a case: sets the threads, measures the limits before and after, and sets the counters
///
/// - `peak_share` (useful FLOP/s of the multiply-add peak) or, where `bytes` is given, `bandwidth_share` (of the read
///   bandwidth);
/// - `bytes_per_second`, of text where the case has a text, else of memory;
/// - `kept`;
/// - `predicted`, the least time of one iteration in seconds by cost model and measured limits.
///
/// Shares are of the wall-clock time of the loop.
class Meter {
 public:
  Meter(benchmark::State& state, int threads, bool reads_memory)
      : state_(state), threads_(threads), reads_memory_(reads_memory), pool_(threads), scope_(pool_) {
    measure();
    start_ = Clock::now();
  }

  /// After the loop.
  void finish(const Demand& demand) {
    const double loop = seconds_between(start_, Clock::now());
    const double seconds = loop / static_cast<double>(std::max<benchmark::IterationCount>(state_.iterations(), 1));
    measure();
    if (demand.bytes > 0)
      state_.counters["bandwidth_share"] = demand.bytes / seconds / bandwidth_;
    else
      state_.counters["peak_share"] = demand.flops / seconds / peak_;
    const double text = demand.text_bytes > 0 ? demand.text_bytes : demand.bytes;
    if (text > 0) state_.counters["bytes_per_second"] = text / seconds;
    state_.counters["kept"] = demand.kept;
    const double bound = demand.bound_flops >= 0 ? demand.bound_flops : demand.flops;
    const double read = demand.bytes + demand.more_bytes;
    state_.counters["predicted"] = bound / peak_ + (read > 0 ? read / bandwidth_ : 0.0);
  }

 private:
  void measure() {
    constexpr double moment = 0.03;
    peak_ = std::max(peak_, fma_peak(threads_, moment));
    if (reads_memory_) bandwidth_ = std::max(bandwidth_, memory_reader().bandwidth(threads_, moment));
  }

  benchmark::State& state_;
  int threads_;
  bool reads_memory_;
  ThreadPool pool_;
  ExecutorScope scope_;
  double peak_ = 0, bandwidth_ = 0;
  Clock::time_point start_;
};

using Body = std::function<void(benchmark::State&)>;

inline void add_case(const std::string& name, Body body, benchmark::TimeUnit unit = benchmark::kMillisecond) {
  benchmark::RegisterBenchmark(name.c_str(), [body = std::move(body)](benchmark::State& state) {
    body(state);
  })->Unit(unit);
}

/// The whole of main: limits of one and two threads into the program's context, then the cases.
inline int run_program(int argc, char** argv, const std::function<void(Selection)>& add_cases) {
  Selection selection = Selection::quick;
  bool only_names = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--benchmark_filter")) selection = Selection::all;
    if (argument.starts_with("--benchmark_list_tests")) only_names = true;
  }
  add_cases(only_names ? Selection::all : selection);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("instruction_set", std::string(instruction_set));
  if (!only_names) {
    for (const int threads : {1, 2}) {
      const std::string suffix = "_threads:" + std::to_string(threads);
      benchmark::AddCustomContext("fma_peak_gflops" + suffix, std::to_string(fma_peak(threads) / 1e9));
      benchmark::AddCustomContext("read_gb_per_second" + suffix,
                                  std::to_string(memory_reader().bandwidth(threads) / 1e9));
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace merganser::bench
