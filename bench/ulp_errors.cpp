// The errors of the library's functions of floats in units in the last place, for the instruction set of this build:
// every float for functions of one, rows of several kinds for softmax.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <mutex>
#include <numbers>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <merganser/core/parallel.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/softmax.hpp>

#include "measure/program.hpp"

namespace {

using namespace merganser;
using namespace merganser::kernels;

/// The distance between the floats around a number; that of the smallest normal ones below.
template <class Number>
Number unit_of(Number value) {
  const double size = std::max(static_cast<double>(std::abs(value)), double{std::numeric_limits<float>::min()});
  constexpr std::uint64_t exponent = std::uint64_t{0x7FF} << 52;
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(size) & exponent) * std::numeric_limits<float>::epsilon();
}

enum class Measure { units, absolute };

struct Worst {
  long double error = 0;
  float at = 0;
  std::uint64_t count = 0;  ///< of floats looked at

  void take(const Worst& other) {
    if (other.error > error) {
      error = other.error;
      at = other.at;
    }
    count += other.count;
  }
};

/// The largest error over the floats in [lowest, highest], one bit pattern in `step`. `of` maps a packet to a packet,
/// `reference` a double or long double to the same.
template <class Of, class Reference>
Worst worst_of(float lowest, float highest, Measure measure, std::uint64_t step, Of of, Reference reference) {
  constexpr std::uint64_t patterns = std::uint64_t{1} << 32, task_patterns = std::uint64_t{1} << 22;
  const auto error = [&]<class Number>(Number x, float y) {
    const Number expected = reference(x), difference = std::abs(static_cast<Number>(y) - expected);
    return measure == Measure::units ? difference / unit_of(expected) : difference;
  };
  Worst worst;
  std::mutex mutex;
  parallel_for(static_cast<Index>(patterns / task_patterns), [&](Index task) {
    std::vector<float> x, y;
    Worst own;
    {
      const std::lock_guard lock(mutex);
      own = worst;
    }
    // Patterns that are a multiple of the step.
    const std::uint64_t begin = (static_cast<std::uint64_t>(task) * task_patterns + step - 1) / step * step;
    for (std::uint64_t pattern = begin; pattern < static_cast<std::uint64_t>(task + 1) * task_patterns;
         pattern += step) {
      const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(pattern));
      if (value >= lowest && value <= highest) x.push_back(value);
    }
    y.resize(x.size());
    transform(static_cast<Index>(x.size()), y.data(), of, static_cast<const float*>(x.data()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      // Double is good to a millionth of a unit and says which floats are worth the time of long double.
      if (static_cast<long double>(error(static_cast<double>(x[i]), y[i])) <= own.error) continue;
      const long double exact = error(static_cast<long double>(x[i]), y[i]);
      if (exact > own.error) own = {exact, x[i]};
    }
    own.count = x.size();
    const std::lock_guard lock(mutex);
    worst.take(own);
  });
  return worst;
}

struct Gelu {
  template <class Number>
  Number operator()(Number x) const {
    const Number slope = std::numbers::sqrt2_v<Number> * std::numbers::inv_sqrtpi_v<Number>;
    return x / (1 + std::exp(-2 * slope * (x + static_cast<Number>(0.044715L) * x * x * x)));
  }
};

void print_row(const char* function, const std::string& where, std::uint64_t count, long double error, const char* unit,
               const std::string& at) {
  std::printf("| %s | %s | %llu | %.3Lg %s | %s |\n", function, where.c_str(), static_cast<unsigned long long>(count),
              error, unit, at.c_str());
  std::fflush(stdout);
}

void print_functions(std::uint64_t step) {
  constexpr float largest = std::numeric_limits<float>::max();
  const auto row = [&](const char* name, const char* where, float lowest, float highest, Measure measure, auto of,
                       auto reference) {
    const Worst worst = worst_of(lowest, highest, measure, step, of, reference);
    char at[32];
    std::snprintf(at, sizeof at, "%.9g", static_cast<double>(worst.at));
    print_row(name, where, worst.count, worst.error, measure == Measure::units ? "ULP" : "absolute", at);
  };
  row(
      "exp", "[-80, 88]", -80, 88, Measure::units, [](const auto& x) { return packet_exp<float>(x); },
      [](auto x) { return std::exp(x); });
  row(
      "tanh", "all", -largest, largest, Measure::units, [](const auto& x) { return packet_tanh<float>(x); },
      [](auto x) { return std::tanh(x); });
  row(
      "sigmoid", "from -79", -79, largest, Measure::units,
      []<class Packet>(const Packet& x) { return PacketLogistic<float, Packet>(x).value(); },
      [](auto x) { return 1 / (1 + std::exp(-x)); });
  const auto gelu = []<class Packet>(const Packet& x) { return PacketGelu<float, Packet>(x).value(); };
  row("gelu", "from -1", -1, largest, Measure::units, gelu, Gelu{});
  row("gelu", "below -1", -largest, -1, Measure::absolute, gelu, Gelu{});
}

/// The worst weight of many rows of softmax, of those that are normal numbers.
template <class Fill>
void print_softmax(const char* kind, SoftmaxKind softmax, Index length, Index rows, Fill fill) {
  Rng rng(1);
  std::vector<float> row(static_cast<std::size_t>(length));
  Worst worst;
  for (Index r = 0; r < rows; ++r) {
    for (float& score : row) score = static_cast<float>(fill(rng));
    const std::vector<float> scores = row;
    softmax_row(length, row.data(), softmax);
    long double total = softmax == SoftmaxKind::softmax1 ? 1 : 0;
    for (const float score : scores) total += std::exp(static_cast<long double>(score));
    for (std::size_t i = 0; i < row.size(); ++i) {
      const long double expected = std::exp(static_cast<long double>(scores[i])) / total;
      if (expected < 1e-30L) continue;
      worst.take({std::abs(row[i] - expected) / unit_of(expected), scores[i], 1});
    }
  }
  print_row(softmax == SoftmaxKind::softmax ? "softmax" : "softmax1",
            std::to_string(rows) + " rows of " + std::to_string(length) + ", " + kind, worst.count, worst.error, "ULP",
            "");
}

void print_softmaxes(Index scores) {
  for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1})
    for (const Index length : {8, 512, 8192}) {
      const Index rows = std::max<Index>(1, scores / length);
      print_softmax("normal scores", softmax, length, rows, [](Rng& rng) { return rng.normal(); });
      print_softmax("ten times normal scores", softmax, length, rows, [](Rng& rng) { return 10 * rng.normal(); });
      print_softmax("equal scores", softmax, length, 1, [](Rng&) { return 0.1; });
    }
}

}  // namespace

int bench_program(int argc, char** argv) {
  CLI::App app("Prints the errors of exp, tanh, sigmoid, gelu and softmax in single precision against long double.");
  std::uint64_t step = 1;
  Index scores = 1 << 20;
  int threads = hardware_threads();
  app.add_option("--step", step, "Of the floats, take one in so many; 1 unless given: all")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--scores", scores, "Scores in rows of softmax, of each kind and length; 1048576 unless given")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--threads", threads, "As many as the machine has unless given")->check(CLI::Range(1, 1024));
  CLI11_PARSE(app, argc, argv);
  ThreadPool pool(threads);
  const ExecutorScope scope(pool);
  std::printf("%s, one float in %llu\n\n", std::string(instruction_set).c_str(), static_cast<unsigned long long>(step));
  std::printf("| function | where | numbers | largest error | at |\n|---|---|---|---|---|\n");
  print_functions(step);
  print_softmaxes(scores);
  return 0;
}
