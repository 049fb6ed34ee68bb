// The table of docs/performance.md: every target beside what this machine reaches now.
//
//   targets [--rounds N] [--only TEXT]
//
// The jobs take turns, round after round, each with the limits measured before it; medians count. --only takes the
// cases whose names contain TEXT. All of it needs about 3 GB and, with 3 rounds, some minutes.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <exception>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "measure/measurement.hpp"
#include "measure/program.hpp"
#include "measure/shapes.hpp"
#include "measure/work.hpp"

namespace {

using namespace merganser;
using namespace merganser::bench;

/// What a row shows.
enum class Figure {
  peak_share,
  time_ratio,   ///< to the job it is compared with; small is good
  weight_rate,  ///< GB/s
  floor_share,
};

struct Row {
  std::string name;
  Figure figure = Figure::peak_share;
  double must = 0, reach = 0;
  Job job;
  std::optional<Job> compared = std::nullopt;
};

/// The targets, case by case. Those in GB/s were set where a packed matrix-vector product reads 24 GB/s from memory,
/// with 2 threads 33.
std::vector<Row> target_rows() {
  const auto small = [](Mode mode, Index bytes, double deletion, int threads, Weights weights = Weights::f32) {
    return Job{Shape::small, mode, bytes, deletion, threads, weights};
  };
  const auto demo = [](Mode mode, Index bytes, int threads = 1) { return Job{Shape::demo, mode, bytes, 0, threads}; };
  constexpr auto encode = Mode::encode, ragged = Mode::ragged, generate = Mode::generate, train = Mode::train;
  constexpr auto peak = Figure::peak_share, ratio = Figure::time_ratio, weights = Figure::weight_rate;
  return {
      {"small, 1024 bytes, 1T", peak, 0.78, 0.85, small(encode, 1024, 0, 1)},
      {"small, 1024 bytes, 2T", peak, 0.72, 0.80, small(encode, 1024, 0, 2)},
      {"small, 2048 bytes, 1T", peak, 0.75, 0.82, small(encode, 2048, 0, 1)},
      {"small, 1024 bytes, time with 50 % deletion / without, 1T", ratio, 0.65, 0.63, small(encode, 1024, 0.5, 1),
       small(encode, 1024, 0, 1)},
      {"small, 1024 bytes, time with 50 % deletion / without, 2T", ratio, 0.65, 0.63, small(encode, 1024, 0.5, 2),
       small(encode, 1024, 0, 2)},
      {"small, 8 ragged sequences, 1T", peak, 0.73, 0.80, small(ragged, 1024, 0, 1)},
      {"small, 8 ragged sequences, 50 % deletion, 1T", peak, 0.73, 0.80, small(ragged, 1024, 0.5, 1)},
      {"small, 64 bytes generated, f32, 1T", weights, 20, 23, small(generate, 1024, 0, 1)},
      {"small, 64 bytes generated, f32, 2T", weights, 28, 32, small(generate, 1024, 0, 2)},
      {"small, 64 bytes generated, time with bf16 / f32, 1T", ratio, 0.6, 0.5,
       small(generate, 1024, 0, 1, Weights::bf16), small(generate, 1024, 0, 1)},
      {"demo, 256 bytes, 1T", peak, 0.70, 0.83, demo(encode, 256)},
      {"demo, 1024 bytes, 1T", peak, 0.66, 0.76, demo(encode, 1024)},
      {"demo, 2048 bytes, 1T", peak, 0.65, 0.76, demo(encode, 2048)},
      {"demo, 8 ragged sequences, 1T", peak, 0.67, 0.77, demo(ragged, 1024)},
      {"demo, 64 bytes generated, 1T", Figure::floor_share, 0.62, 0.83, demo(generate, 1024)},
      {"demo, training step, 1T", peak, 0.67, 0.72, demo(train, 256)},
      {"demo, training step, 2T", peak, 0.57, 0.67, demo(train, 256, 2)},
  };
}

/// A job and how it went. Without `work` the library cannot do it, and `failure` says why.
struct Entry {
  Job job;
  std::unique_ptr<Work> work;
  std::string failure;
  Timing timing;
};

/// The jobs of the rows, each once.
class Bench {
 public:
  explicit Bench(const std::vector<Row>& rows) {
    ModelShelf shelf;
    for (const Row& row : rows) {
      add(row.job, shelf);
      if (row.compared) add(*row.compared, shelf);
    }
  }

  /// One run of every job. Short ones run several times, so that their medians are as good.
  void run_round() {
    constexpr double short_time = 0.5;
    constexpr int most = 5;
    for (Entry& entry : entries_) {
      if (entry.work == nullptr) continue;
      const bool reads = entry.job.mode == Mode::generate;
      entry.timing.limits.measure(entry.job.threads, reads ? &reader_ : nullptr);
      double spent = 0;
      for (int i = 0; i < most && spent < short_time; ++i) {
        timed_run(*entry.work, entry.timing);
        spent += entry.timing.seconds.back();
      }
      entry.timing.limits.measure(entry.job.threads, nullptr);
    }
  }

  const Entry& find(const Job& job) const {
    for (const Entry& entry : entries_)
      if (entry.job == job) return entry;
    throw std::logic_error("a job that was never added");
  }

 private:
  void add(const Job& job, ModelShelf& shelf) {
    for (const Entry& entry : entries_)
      if (entry.job == job) return;
    Entry& entry = entries_.emplace_back();
    entry.job = job;
    try {
      entry.work = std::make_unique<Work>(job, shelf);
      entry.work->run();
    } catch (const std::invalid_argument& error) {
      entry.work = nullptr;
      entry.failure = error.what();
    }
  }

  std::deque<Entry> entries_;
  MemoryReader reader_;
};

std::string formatted(const char* format, auto... values) {
  char text[160];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string show(Figure figure, double value) {
  if (figure == Figure::time_ratio) return formatted("%.2f", value);
  if (figure == Figure::weight_rate) return formatted("%.0f GB/s", value);
  return formatted("%.0f %%", 100 * value);
}

/// The measured cell of a row, and whether the target is met.
std::string measured_cell(const Row& row, const Bench& bench) {
  const Entry& entry = bench.find(row.job);
  if (entry.work == nullptr) return "none: " + entry.failure;
  const Account account = entry.work->account();
  const Shares share = shares(account, entry.timing);
  const double seconds = entry.timing.median_seconds(), peak = entry.timing.limits.peak() / 1e9;
  double value = 0;
  std::string cell;
  switch (row.figure) {
    case Figure::peak_share:
      value = share.peak_share;
      cell = formatted("%.1f %% of %.0f GFLOP/s, %.0f ms", 100 * value, peak, 1e3 * seconds);
      break;
    case Figure::time_ratio: {
      const double compared = bench.find(*row.compared).timing.median_seconds();
      value = seconds / compared;
      cell = formatted("%.3f, %.0f of %.0f ms", value, 1e3 * seconds, 1e3 * compared);
      break;
    }
    case Figure::weight_rate:
      value = account.bytes_read / seconds / 1e9;
      cell = formatted("%.1f GB/s, %.0f %% of read %.1f, %.0f ms", value, 100 * share.bandwidth_share,
                       entry.timing.limits.bandwidth() / 1e9, 1e3 * seconds);
      break;
    case Figure::floor_share:
      value = share.floor_share;
      cell = formatted("%.1f %% (weights at %.0f %% of read %.1f GB/s), %.1f ms", 100 * value,
                       100 * share.bandwidth_share, entry.timing.limits.bandwidth() / 1e9, 1e3 * seconds);
      break;
  }
  const bool small_is_good = row.figure == Figure::time_ratio;
  const auto met = [&](double target) { return small_is_good ? value <= target : value >= target; };
  const double had = entry.timing.cpu_share(row.job.threads);
  if (had < 0.95) cell += formatted("; machine busy, had %.0f %% of its processors", 100 * had);
  return cell + (met(row.reach) ? " (reached)" : met(row.must) ? " (met)" : " (below)");
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

std::string compiler() {
#ifdef __clang__
  return std::string("clang ") + __clang_version__;
#elif defined(__GNUC__)
  return std::string("g++ ") + __VERSION__;
#else
  return "unknown compiler";
#endif
}

}  // namespace

int bench_program(int argc, char** argv) {
  CLI::App app("Prints the targets of docs/performance.md beside what this machine reaches.");
  int rounds = 3;
  std::string only;
  app.add_option("--rounds", rounds, "Runs of every job, of short ones up to 5 times as many; 3 unless given")
      ->check(CLI::Range(1, 1000));
  app.add_option("--only", only, "Cases whose names contain this");
  CLI11_PARSE(app, argc, argv);
  std::vector<Row> rows;
  for (Row& row : target_rows())
    if (row.name.find(only) != std::string::npos) rows.push_back(row);
  try {
    Bench bench(rows);
    for (int round = 0; round < rounds; ++round) bench.run_round();
    std::printf("%s, %s, %s, %s, %d rounds\n\n", today().c_str(), processor().c_str(), compiler().c_str(),
                Eigen::SimdInstructionSetsInUse(), rounds);
    std::puts("| case | must | reach for | measured |\n|---|---|---|---|");
    for (const Row& row : rows)
      std::printf("| %s | %s | %s | %s |\n", row.name.c_str(), show(row.figure, row.must).c_str(),
                  show(row.figure, row.reach).c_str(), measured_cell(row, bench).c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "targets: %s\n", error.what());
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
