// What this machine can do: multiply-adds a second and bytes read a second, measured in the same process as the work.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <latch>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

namespace detail {

/// Keeps the compiler from computing a value beforehand or leaving it out.
template <class Value>
Value opaque(Value value) {
  volatile Value hidden = value;
  return hidden;
}

/// Runs work(thread) on each of `threads` threads at once; seconds from the first start to the last end.
template <class Work>
double run_together(int threads, Work&& work) {
  if (threads <= 1) {
    const auto start = Clock::now();
    work(0);
    return seconds_between(start, Clock::now());
  }
  const auto count = static_cast<std::size_t>(threads);
  std::vector<Clock::time_point> starts(count), ends(count);
  std::vector<std::thread> team;
  std::latch ready(threads);
  for (std::size_t i = 0; i < count; ++i)
    team.emplace_back([&, i] {
      ready.arrive_and_wait();
      starts[i] = Clock::now();
      work(static_cast<int>(i));
      ends[i] = Clock::now();
    });
  for (std::thread& thread : team) thread.join();
  return seconds_between(*std::min_element(starts.begin(), starts.end()), *std::max_element(ends.begin(), ends.end()));
}

/// Chains of multiply-adds that run side by side: enough to hide the latency, and all of them in registers.
inline constexpr int chains = kernels::simd::registers >= 32 ? 16 : 12;
inline constexpr double flops_a_step = 2.0 * chains * kernels::PacketOf<float>::size;

/// `steps` multiply-adds in every chain; the sum of all lanes.
template <std::size_t... Chain>
float multiply_add_steps(Index steps, std::index_sequence<Chain...>) {
  namespace simd = kernels::simd;
  using Packet = typename kernels::PacketOf<float>::Type;
  const Packet x = kernels::broadcast(opaque(0.5f)), y = kernels::broadcast(opaque(1.0f));
  Packet a[sizeof...(Chain)];
  ((a[Chain] = kernels::broadcast(opaque(static_cast<float>(Chain)))), ...);
  if constexpr (simd::pmadd_fuses)  // the accumulating form: the other one costs a copy, and with some compilers
                                    // registers
    for (Index i = 0; i < steps; ++i) ((a[Chain] = simd::pmadd(x, y, a[Chain])), ...);
  else  // here the accumulating form would have its product moved out of the loop
    for (Index i = 0; i < steps; ++i) ((a[Chain] = simd::pmadd(a[Chain], x, y)), ...);
  float sum = 0;
  ((sum += simd::predux(a[Chain])), ...);
  return sum;
}

/// The sum of `count` floats, read as four streams side by side. count must be a multiple of 16 packets.
inline float read_streams(const float* data, Index count) {
  namespace simd = kernels::simd;
  using Packet = typename kernels::PacketOf<float>::Type;
  constexpr Index size = kernels::PacketOf<float>::size;
  constexpr Index streams = 4, unroll = 4;
  const Index stride = count / streams;
  Packet sums[streams][unroll];
  for (auto& stream : sums)
    for (Packet& part : stream) part = kernels::broadcast(0.0f);
  for (Index i = 0; i < stride; i += unroll * size)
    for (Index s = 0; s < streams; ++s)
      for (Index u = 0; u < unroll; ++u)
        sums[s][u] = simd::padd(sums[s][u], simd::ploadu<Packet>(data + s * stride + i + u * size));
  float sum = 0;
  for (const auto& stream : sums)
    for (const Packet& part : stream) sum += simd::predux(part);
  return sum;
}

}  // namespace detail

/// Multiply-adds in FLOP/s (two an operation) of `threads` threads: a loop that touches nothing but registers.
///
/// The widest instructions of this build, not of the machine: a build without -march=native measures its own peak.
/// Takes about `seconds`. The best of many moments counts, each short enough to fall between two interruptions.
inline double fma_peak(int threads, double seconds = 0.2) {
  constexpr Index trial = 1 << 14;
  constexpr double moment = 0.002;
  const auto run = [threads](Index steps) {
    return detail::run_together(threads, [steps](int) {
      detail::opaque(detail::multiply_add_steps(steps, std::make_index_sequence<detail::chains>{}));
    });
  };
  double step_seconds = 1;
  for (int i = 0; i < 3; ++i) {
    const auto start = Clock::now();
    detail::opaque(detail::multiply_add_steps(trial, std::make_index_sequence<detail::chains>{}));
    step_seconds = std::min(step_seconds, seconds_between(start, Clock::now()) / static_cast<double>(trial));
  }
  const Index steps = std::max(trial, static_cast<Index>(moment / step_seconds));
  const auto start = Clock::now();
  double best = 0;
  do best = std::max(best, threads * static_cast<double>(steps) * detail::flops_a_step / run(steps));
  while (seconds_between(start, Clock::now()) < seconds);
  return best;
}

/// Reads memory from end to end. The buffer is four times the last-level cache, from 256 MiB to 1 GiB, and stays
/// allocated: whoever measures the memory of something else does so before one is made.
class MemoryReader {
 public:
  MemoryReader() : buffer_(static_cast<std::size_t>(buffer_floats()), 1.0f) {}

  /// Bytes a second of `threads` threads, each reading its part as four streams. Takes about `seconds`; the best
  /// quarter of the buffer counts.
  double bandwidth(int threads, double seconds = 0.2) const {
    const Index quarter = static_cast<Index>(buffer_.size()) / 4, part = quarter / threads / granule * granule;
    const auto start = Clock::now();
    double best = 0;
    for (int i = 0; i < 4 || seconds_between(start, Clock::now()) < seconds; ++i) {
      const float* data = buffer_.data() + i % 4 * quarter;
      const double elapsed = detail::run_together(
          threads, [&](int thread) { detail::opaque(detail::read_streams(data + thread * part, part)); });
      best = std::max(best, static_cast<double>(part) * threads * sizeof(float) / elapsed);
    }
    return best;
  }

 private:
  static constexpr Index granule = 16 * kernels::PacketOf<float>::size;

  static Index buffer_floats() {
    constexpr long least = 256L << 20, most = 1L << 30;
    long cache = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    cache = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return static_cast<Index>(std::clamp(4 * cache, least, most)) / static_cast<Index>(sizeof(float));
  }

  std::vector<float> buffer_;
};

}  // namespace merganser::bench
