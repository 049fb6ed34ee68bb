#include <merganser/core/thread_pool.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <memory>
#include <set>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include <merganser/core/parallel.hpp>
#include <merganser/core/random.hpp>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace thread_pool_test {

using namespace merganser;
using namespace merganser::testing;
using std::chrono::microseconds;

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

TEST_CASE("a pool has the threads that it was asked for", "[thread_pool]") {
  REQUIRE(ThreadPool(1).thread_count() == 1);
  REQUIRE(ThreadPool(8).thread_count() == 8);
  REQUIRE(ThreadPool().thread_count() == hardware_threads());
  REQUIRE(hardware_threads() >= 1);
  REQUIRE(argument_error([] { ThreadPool pool(0); }) == "ThreadPool: threads: got 0, expected at least 1");
  REQUIRE(argument_error([] { ThreadPool pool(-3); }) == "ThreadPool: threads: got -3, expected at least 1");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they need more memory than a limit leaves
TEST_CASE("where the system gives fewer threads a pool fails or makes do with them", "[thread_pool]") {
  long pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  if (pages == 0) return;  // not Linux
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  rlimit limited = before;
  limited.rlim_cur = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{256} << 20);
  REQUIRE(setrlimit(RLIMIT_AS, &limited) == 0);
  bool failed = false;
  int threads = 0, wrong = 0;
  try {
    ThreadPool pool(1000);
  } catch (const std::system_error&) {
    failed = true;
  }
  {
    ThreadPool pool(1000, ThreadPool::default_spin, ThreadPool::Shortage::accept);
    const ExecutorScope scope(pool);
    threads = pool.thread_count();
    wrong = wrong_runs(100);
  }
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(failed);
  CHECK(threads >= 1);
  CHECK(threads < 1000);
  CHECK(wrong == 0);
}
#endif

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

#if defined(__unix__) || defined(__APPLE__)

// The exit status of a child that does this, -1 when it is killed: by the alarm, if it hangs.
template <class Work>
int status_of_child(Work&& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    ::_exit(work());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#if defined(__SANITIZE_THREAD__)
constexpr bool a_child_may_start_threads = false;  // the thread sanitizer forbids it
#elif defined(__has_feature)
constexpr bool a_child_may_start_threads = !__has_feature(thread_sanitizer);
#else
constexpr bool a_child_may_start_threads = true;
#endif

TEST_CASE("a child of fork runs loops on a pool of its parent, and destroys it", "[thread_pool]") {
  const microseconds spin = any_spin();
  auto pool = std::make_unique<ThreadPool>(3, spin);
  {
    const ExecutorScope scope(*pool);
    REQUIRE(wrong_runs(100) == 0);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(2));  // asleep, or spinning
  const int status = status_of_child([&pool] {
    int wrong = pool->thread_count() - 1;
    {
      const ExecutorScope scope(*pool);
      wrong += wrong_runs(100);
    }
    if (a_child_may_start_threads) {  // in the memory where those of the parent had their stacks
      ThreadPool own(3);
      const ExecutorScope scope(own);
      wrong += wrong_runs(100) + 3 - own.thread_count();
      pool.reset();
      wrong += wrong_runs(100);
      wrong += status_of_child([&own] { return wrong_runs(100) + own.thread_count() - 1; });
    } else {
      pool.reset();
    }
    return wrong;
  });
  REQUIRE(status == 0);
  const ExecutorScope scope(*pool);
  REQUIRE((pool->thread_count() == 3 && wrong_runs(100) == 0));
}

TEST_CASE("a child that is forked beside running loops does not hang", "[thread_pool]") {
  auto pool = std::make_unique<ThreadPool>(2);
  std::atomic<bool> enough = false;
  std::thread other([&] {
    const ExecutorScope scope(*pool);
    while (!enough) wrong_runs(50);
  });
  int wrong = 0;
  for (int child = 0; child < 60; ++child)
    wrong += status_of_child([&pool] {
               ExecutorScope scope(*pool);
               const int runs = wrong_runs(50);
               pool.reset();
               return runs;
             }) == 0
                 ? 0
                 : 1;
  enough = true;
  other.join();
  REQUIRE(wrong == 0);
}

#endif

}  // namespace thread_pool_test
