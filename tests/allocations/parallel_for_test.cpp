#include <merganser/core/parallel.hpp>

#include <array>
#include <chrono>

#include <merganser/core/thread_pool.hpp>

#include "allocations/counter.hpp"
#include "support/catch.hpp"
#include "support/reverse_executor.hpp"

namespace parallel_for_test {

using namespace merganser;
using namespace merganser::testing;

TEST_CASE("a loop allocates nothing", "[allocations]") {
  std::array<double, 100> values{};
  const auto loops = [&] {
    for (int repeat = 0; repeat < 100; ++repeat) {
      parallel_for(100, [&](Index i) { values[static_cast<std::size_t>(i)] += 1; });
      parallel_for(10, parallel_from, [&](Index i) {
        parallel_for(10, [&](Index j) { values[static_cast<std::size_t>(10 * i + j)] += 1; });
      });
    }
  };
  REQUIRE(allocations_in(loops) == 0);
  ReverseExecutor reverse;
  {
    const ExecutorScope scope(reverse);
    REQUIRE(allocations_in(loops) == 0);
  }
  for (const int threads : {1, 2, 4})
    for (const auto spin : {std::chrono::microseconds(0), ThreadPool::default_spin}) {
      ThreadPool pool(threads, spin);
      const ExecutorScope scope(pool);
      loops();  // the first sleep of a thread may set something up
      REQUIRE(allocations_in(loops) == 0);
    }
}

}  // namespace parallel_for_test
