// The measured limits are numbers that can be, and the loops behind them do what is counted.
#include "measure/machine_limits.hpp"

#include <atomic>
#include <cmath>
#include <utility>
#include <vector>

#include <merganser/runs/peak_memory.hpp>

#include "support/catch.hpp"

namespace machine_limits_test {

using namespace merganser;
using namespace merganser::bench;

TEST_CASE("the multiply-add loop does its steps in every lane of every chain", "[bench]") {
  constexpr auto chains = std::make_index_sequence<detail::chains>{};
  const auto lanes = static_cast<float>(kernels::PacketOf<float>::size);
  float start = 0;
  for (int i = 0; i < detail::chains; ++i) start += lanes * static_cast<float>(i);
  CHECK(detail::multiply_add_steps(0, chains) == start);
  // Chain i starts at i; a step adds 1/2, or halves it and adds 1.
  if constexpr (kernels::simd::pmadd_fuses)
    CHECK(detail::multiply_add_steps(3, chains) == start + 1.5f * lanes * detail::chains);
  else
    CHECK(detail::multiply_add_steps(1, chains) == start / 2 + lanes * detail::chains);
  CHECK(detail::flops_a_step == 2.0 * detail::chains * kernels::PacketOf<float>::size);
}

TEST_CASE("the streams read every float once", "[bench]") {
  const Index count = 3 * 16 * kernels::PacketOf<float>::size;
  std::vector<float> data(static_cast<std::size_t>(count));
  float sum = 0;
  for (std::size_t i = 0; i < data.size(); ++i) sum += data[i] = static_cast<float>(i + 1);
  CHECK(detail::read_streams(data.data(), count) == sum);
  CHECK(detail::read_streams(data.data(), 0) == 0);
}

TEST_CASE("the team runs every thread once", "[bench]") {
  for (const int threads : {1, 2, 5}) {
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(threads));
    CHECK(detail::run_together(threads, [&](int i) { ++calls[static_cast<std::size_t>(i)]; }) >= 0);
    for (const auto& count : calls) CHECK(count == 1);
  }
}

TEST_CASE("limits are positive and finite", "[bench]") {
  for (const int threads : {1, 2}) {
    const double peak = fma_peak(threads, 0.01);
    CHECK(std::isfinite(peak));
    CHECK(peak > 1e7);
  }
  const MemoryReader reader;
  for (const int threads : {1, 3}) {
    const double bandwidth = reader.bandwidth(threads, 0.0);
    CHECK(std::isfinite(bandwidth));
    CHECK(bandwidth > 1e7);
  }
#ifdef __linux__
  CHECK(runs::peak_memory_bytes() > 256e6);  // the reader's buffer
#endif
}

}  // namespace machine_limits_test
