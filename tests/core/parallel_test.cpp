#include <merganser/core/parallel.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace merganser;

namespace {

// Sets the number of threads for one test case.
struct ThreadCount {
  explicit ThreadCount(int threads) : before(thread_count()) { set_thread_count(threads); }
  ~ThreadCount() { set_thread_count(before); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;
  int before;
};

#ifdef _OPENMP
constexpr bool has_openmp = true;
#else
constexpr bool has_openmp = false;
#endif

}  // namespace

TEST_CASE("the number of threads can be set where there is OpenMP", "[parallel]") {
  const ThreadCount two(2);
  REQUIRE(thread_count() == (has_openmp ? 2 : 1));
  set_thread_count(0);
  REQUIRE(thread_count() == 1);
  set_thread_count(-3);
  REQUIRE(thread_count() == 1);
}

TEST_CASE("every task runs exactly once", "[parallel]") {
  const ThreadCount threads(GENERATE(1, 2, 3));
  for (const Index count : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
    parallel_for(count, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
    int wrong = 0;
    for (const auto& run : runs) wrong += run != 1 ? 1 : 0;
    REQUIRE(wrong == 0);
  }
}

TEST_CASE("a negative count runs nothing", "[parallel]") {
  const ThreadCount threads(GENERATE(1, 2));
  parallel_for(-4, [](Index) { FAIL("a task ran"); });
}

TEST_CASE("two threads both work, one thread is the caller's own", "[parallel]") {
  {
    const ThreadCount one(1);
    parallel_for(4, [caller = std::this_thread::get_id()](Index) { REQUIRE(std::this_thread::get_id() == caller); });
  }
  if (has_openmp) {
    const ThreadCount two(2);
    // Each of two tasks waits for the other: only two threads at once can pass.
    std::atomic<int> arrived = 0;
    parallel_for(2, [&](Index) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    REQUIRE(arrived == 2);
  }
}

TEST_CASE("little work stays on the calling thread, much is shared", "[parallel]") {
  const ThreadCount two(2);
  parallel_for(4, parallel_from - 1,
               [caller = std::this_thread::get_id()](Index) { REQUIRE(std::this_thread::get_id() == caller); });
  std::atomic<int> runs = 0;
  parallel_for(3, Index{0}, [&](Index) { ++runs; });
  REQUIRE(runs == 3);
  if (has_openmp) {
    std::atomic<int> arrived = 0;
    parallel_for(2, parallel_from, [&](Index) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    REQUIRE(arrived == 2);
  }
}

TEST_CASE("a loop inside a task runs serially and completely", "[parallel]") {
  const ThreadCount two(2);
  std::atomic<int> inner = 0, threads_inside = 0;
  parallel_for(3, [&](Index) {
    threads_inside = std::max(threads_inside.load(), thread_count());
    parallel_for(5, [&](Index) { ++inner; });
  });
  REQUIRE(inner == 15);
  REQUIRE(threads_inside == 1);
}

TEST_CASE("an exception reaches the caller", "[parallel]") {
  const ThreadCount threads(GENERATE(1, 2));
  const auto throw_at = [](Index count, Index bad) {
    parallel_for(count, [bad](Index i) {
      if (i == bad) throw std::runtime_error("task " + std::to_string(i));
    });
  };
  REQUIRE_THROWS_WITH(throw_at(10, 3), "task 3");
  REQUIRE_THROWS_WITH(throw_at(1, 0), "task 0");
  REQUIRE_THROWS_WITH(throw_at(10, 9), "task 9");
  REQUIRE_NOTHROW(throw_at(10, 10));
}

TEST_CASE("of many exceptions one reaches the caller, and the next loop works", "[parallel]") {
  const ThreadCount threads(GENERATE(1, 2));
  REQUIRE_THROWS_AS(parallel_for(100, [](Index) { throw std::out_of_range("each"); }), std::out_of_range);
  std::atomic<int> runs = 0;
  parallel_for(100, [&](Index) { ++runs; });
  REQUIRE(runs == 100);
}

TEST_CASE("loops started from several threads of the caller do not mix", "[parallel]") {
  std::vector<std::atomic<int>> sums(3);
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < sums.size(); ++caller)
    callers.emplace_back([&sums, caller] {
      set_thread_count(2);
      parallel_for(100, [&](Index i) { sums[caller] += static_cast<int>(i); });
    });
  for (std::thread& caller : callers) caller.join();
  for (const auto& sum : sums) REQUIRE(sum == 4950);
}
