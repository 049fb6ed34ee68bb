#include <merganser/core/thread_pool.hpp>

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <merganser/core/parallel.hpp>
#include <merganser/core/random.hpp>

#include "support/catch.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::testing;
using std::chrono::microseconds;

namespace {

// With no spin every wait goes to sleep; with a long one none does.
microseconds any_spin() { return GENERATE(microseconds(0), ThreadPool::default_spin, microseconds(20000)); }

// The numbers of runs that are not 1.
int wrong_runs(Index count) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
  parallel_for(count, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
  int wrong = 0;
  for (const auto& run : runs) wrong += run != 1 ? 1 : 0;
  return wrong;
}

}  // namespace

TEST_CASE("a pool has the threads that it was asked for", "[thread_pool]") {
  REQUIRE(ThreadPool(1).thread_count() == 1);
  REQUIRE(ThreadPool(8).thread_count() == 8);
  REQUIRE(ThreadPool().thread_count() == hardware_threads());
  REQUIRE(hardware_threads() >= 1);
  REQUIRE(argument_error([] { ThreadPool pool(0); }) == "ThreadPool: threads: got 0, expected at least 1");
  REQUIRE(argument_error([] { ThreadPool pool(-3); }) == "ThreadPool: threads: got -3, expected at least 1");
}

TEST_CASE("every task runs once, for random counts and all numbers of threads", "[thread_pool]") {
  const microseconds spin = any_spin();
  Rng rng(1);
  for (int threads = 1; threads <= 8; ++threads) {
    ThreadPool pool(threads, spin);
    const ExecutorScope scope(pool);
    for (int loop = 0; loop < 60; ++loop) {
      const auto most = std::uint64_t{1} << (1 + rng.below(12));
      const auto count = static_cast<Index>(rng.below(most));
      CAPTURE(threads, count);
      REQUIRE(wrong_runs(count) == 0);
    }
  }
}

TEST_CASE("as many threads work as there are, the caller among them", "[thread_pool]") {
  const microseconds spin = any_spin();
  const int threads = GENERATE(1, 2, 5);
  ThreadPool pool(threads, spin);
  const ExecutorScope scope(pool);
  for (int loop = 0; loop < 3; ++loop) {
    // Each task waits for all others, so each has a thread of its own.
    std::atomic<int> arrived = 0;
    std::vector<std::thread::id> ids(static_cast<std::size_t>(threads));
    parallel_for(threads, [&](Index i) {
      ids[static_cast<std::size_t>(i)] = std::this_thread::get_id();
      ++arrived;
      while (arrived < threads) std::this_thread::yield();
    });
    const std::set<std::thread::id> different(ids.begin(), ids.end());
    REQUIRE(different.size() == ids.size());
    REQUIRE(different.count(std::this_thread::get_id()) == 1);
  }
}

TEST_CASE("what tasks wrote is there after the loop, over many short loops", "[thread_pool]") {
  const microseconds spin = any_spin();
  ThreadPool pool(4, spin);
  const ExecutorScope scope(pool);
  std::vector<int> values(5, 0);  // plain: the thread sanitizer watches
  const int loops = 1500;
  for (int loop = 0; loop < loops; ++loop) {
    parallel_for(static_cast<Index>(values.size()), [&](Index i) { ++values[static_cast<std::size_t>(i)]; });
    values.front() += 1;
  }
  REQUIRE(values == std::vector<int>{2 * loops, loops, loops, loops, loops});
}

TEST_CASE("threads that sleep between loops wake up", "[thread_pool]") {
  ThreadPool pool(2, microseconds(0));
  const ExecutorScope scope(pool);
  for (int loop = 0; loop < 5; ++loop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> arrived = 0;
    parallel_for(2, [&](Index) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    REQUIRE(arrived == 2);
  }
}

TEST_CASE("while a pool runs a loop, the loop of another thread runs on that thread", "[thread_pool]") {
  ThreadPool pool(2);
  const ExecutorScope scope(pool);
  std::atomic<bool> second_is_over = false;
  std::atomic<int> second_runs = 0, moved = 0;
  std::thread second;
  parallel_for(2, [&](Index i) {
    if (i == 0)
      second = std::thread([&] {
        const ExecutorScope same(pool);
        parallel_for(50, [&, caller = std::this_thread::get_id()](Index) {
          ++second_runs;
          if (std::this_thread::get_id() != caller) ++moved;
        });
        second_is_over = true;
      });
    else
      while (!second_is_over) std::this_thread::yield();
  });
  second.join();
  REQUIRE(second_runs == 50);
  REQUIRE(moved == 0);
}

TEST_CASE("several threads share one pool without mixing their loops", "[thread_pool]") {
  const microseconds spin = any_spin();
  ThreadPool pool(3, spin);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> callers;
  for (Index caller = 0; caller < 4; ++caller)
    callers.emplace_back([&, caller] {
      const ExecutorScope scope(pool);
      for (Index loop = 0; loop < 200; ++loop) wrong += wrong_runs(1 + (7 * caller + loop) % 23);
    });
  for (std::thread& caller : callers) caller.join();
  REQUIRE(wrong == 0);
}

TEST_CASE("an exception ends the loop for all, and leaves the pool as it was", "[thread_pool]") {
  const microseconds spin = any_spin();
  ThreadPool pool(4, spin);
  const ExecutorScope scope(pool);
  for (int loop = 0; loop < 50; ++loop) {
    std::atomic<int> runs = 0;
    REQUIRE_THROWS_WITH(parallel_for(100000,
                                     [&](Index) {
                                       ++runs;
                                       throw std::runtime_error("each");
                                     }),
                        "each");
    REQUIRE(runs <= 4);
    REQUIRE(wrong_runs(64) == 0);
  }
}

TEST_CASE("pools come and go", "[thread_pool]") {
  for (int i = 0; i < 50; ++i) {
    ThreadPool unused(3);
    const auto pool = std::make_unique<ThreadPool>(3);
    const ExecutorScope scope(*pool);
    REQUIRE(wrong_runs(i) == 0);
  }
}

TEST_CASE("idle threads sleep", "[thread_pool]") {
  ThreadPool pool(4);
  const ExecutorScope scope(pool);
  REQUIRE(wrong_runs(20) == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the spin is over
  const std::clock_t before = std::clock();                   // processor time of all threads
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  REQUIRE(static_cast<double>(std::clock() - before) < 0.02 * CLOCKS_PER_SEC);
}
