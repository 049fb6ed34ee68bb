// Jobs and limits measured in turns: medians, and shares of what the machine can do at that moment.
#pragma once

#include <algorithm>
#include <ctime>
#include <vector>

#include "machine_limits.hpp"
#include "work.hpp"

namespace merganser::bench {

/// The middle of the values; of an even number the mean of the two in the middle. 0 of none.
inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Limits as they are measured again and again: the largest so far counts, so that a share is never flattered by a
/// moment in which the machine was busy.
class Limits {
 public:
  /// Measures the multiply-add peak again, and with a reader the bandwidth. About `seconds` each.
  void measure(int threads, const MemoryReader* reader, double seconds = 0.2) {
    peak_ = std::max(peak_, fma_peak(threads, seconds));
    if (reader != nullptr) bandwidth_ = std::max(bandwidth_, reader->bandwidth(threads, seconds));
  }

  double peak() const { return peak_; }            ///< FLOP/s
  double bandwidth() const { return bandwidth_; }  ///< bytes/s; 0 if never measured

 private:
  double peak_ = 0, bandwidth_ = 0;
};

/// Seconds of a job, repetition by repetition.
struct Timing {
  std::vector<double> seconds;      ///< by the clock on the wall
  std::vector<double> cpu_seconds;  ///< of the process, all threads together
  Limits limits;

  double median_seconds() const { return median(seconds); }

  /// How much of the processors that the job asked for it had, where its threads never wait: below 1 on a busy machine.
  double cpu_share(int threads) const { return median(cpu_seconds) / (threads * median_seconds()); }
};

/// Runs once and notes how long it took.
inline void timed_run(Work& work, Timing& timing) {
  const std::clock_t cpu_start = std::clock();
  const auto start = Clock::now();
  work.run();
  timing.seconds.push_back(seconds_between(start, Clock::now()));
  timing.cpu_seconds.push_back(static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
}

/// What a timing comes to.
struct Shares {
  double peak_share = 0;       ///< useful FLOP/s of the peak
  double bandwidth_share = 0;  ///< bytes of weights a second of the read bandwidth; 0 where arithmetic is the limit
  double floor_share = 0;      ///< the cost model's least time of the median time
};

inline Shares shares(const Account& account, const Timing& timing) {
  const double seconds = timing.median_seconds();
  const double peak = timing.limits.peak(), bandwidth = timing.limits.bandwidth();
  Shares result;
  result.peak_share = account.flops / (seconds * peak);
  if (account.bytes_read > 0) result.bandwidth_share = account.bytes_read / (seconds * bandwidth);
  result.floor_share = account.least_seconds(peak, bandwidth) / seconds;
  return result;
}

/// `repetitions` runs with the limits measured before, between and after them: five times at least where there are that
/// many repetitions.
inline Timing measure(Work& work, int repetitions, const MemoryReader* reader) {
  Timing timing;
  const int interval = std::max(repetitions / 4, 1);
  for (int i = 0; i < repetitions; ++i) {
    if (i % interval == 0) timing.limits.measure(work.job().threads, reader);
    timed_run(work, timing);
  }
  timing.limits.measure(work.job().threads, reader);
  return timing;
}

}  // namespace merganser::bench
