#include <merganser/core/parallel.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <merganser/core/thread_pool.hpp>

#include "support/catch.hpp"
#include "support/reverse_executor.hpp"

namespace parallel_test {

using namespace merganser;
using namespace merganser::testing;

// Runs a check on every executor, and without any.
void on_every_executor(const std::function<void()>& check) {
  std::vector<std::unique_ptr<Executor>> executors;
  executors.push_back(std::make_unique<SerialExecutor>());
  executors.push_back(std::make_unique<ReverseExecutor>());
  for (const int threads : {1, 2, 3}) executors.push_back(std::make_unique<ThreadPool>(threads));
#ifdef _OPENMP
  executors.push_back(std::make_unique<OpenmpExecutor>());
#endif
  check();
  for (const auto& executor : executors) {
    const ExecutorScope scope(*executor);
    check();
  }
}

// Each of two tasks waits for the other: only two threads at once can pass.
struct Meeting {
  std::atomic<int> arrived = 0;

  void operator()(Index) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  }
};

TEST_CASE("every task runs exactly once", "[parallel]") {
  on_every_executor([] {
    for (const Index count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
      parallel_for(count, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
      int wrong = 0;
      for (const auto& run : runs) wrong += run != 1 ? 1 : 0;
      REQUIRE(wrong == 0);
    }
  });
}

TEST_CASE("a negative count runs nothing", "[parallel]") {
  on_every_executor([] { parallel_for(-4, [](Index) { FAIL("a task ran"); }); });
}

TEST_CASE("without an executor loops are the caller's own, in rising order", "[parallel]") {
  SerialExecutor serial;
  const ExecutorScope scope(serial);
  std::vector<Index> seen;
  parallel_for(4, [&, caller = std::this_thread::get_id()](Index i) {
    REQUIRE(std::this_thread::get_id() == caller);
    seen.push_back(i);
  });
  REQUIRE(seen == std::vector<Index>{0, 1, 2, 3});
}

TEST_CASE("a user's own executor gets the loops of more than one task", "[parallel]") {
  ReverseExecutor reverse;
  const ExecutorScope scope(reverse);
  std::vector<Index> seen;
  parallel_for(1, [&](Index i) { seen.push_back(i); });
  REQUIRE(reverse.loops == 0);
  parallel_for(3, [&](Index i) { seen.push_back(i); });
  REQUIRE(reverse.loops == 1);
  REQUIRE(seen == std::vector<Index>{0, 2, 1, 0});
}

TEST_CASE("little work stays on the calling thread, much is shared", "[parallel]") {
  ThreadPool pool(2);
  const ExecutorScope scope(pool);
  parallel_for(4, parallel_from - 1,
               [caller = std::this_thread::get_id()](Index) { REQUIRE(std::this_thread::get_id() == caller); });
  std::atomic<int> runs = 0;
  parallel_for(3, Index{0}, [&](Index) { ++runs; });
  REQUIRE(runs == 3);
  Meeting meeting;
  parallel_for(2, parallel_from, meeting);
  REQUIRE(meeting.arrived == 2);
}

#ifdef _OPENMP
TEST_CASE("with OpenMP loops are shared unless told otherwise, and its settings hold", "[parallel]") {
  const int before = omp_get_max_threads();
  omp_set_num_threads(2);
  REQUIRE(thread_count() == 2);
  Meeting meeting;
  parallel_for(2, meeting);
  REQUIRE(meeting.arrived == 2);
  omp_set_num_threads(before);
}

TEST_CASE("a loop inside the user's own OpenMP region runs serially", "[parallel]") {
  std::atomic<int> runs = 0, most = 0;
#pragma omp parallel num_threads(2)
  {
    parallel_for(5, [&](Index) { ++runs; });
    most = std::max(most.load(), thread_count());
  }
  REQUIRE(runs == 10);
  REQUIRE(most == 1);
}
#endif

TEST_CASE("a loop inside a task runs serially and completely", "[parallel]") {
  on_every_executor([] {
    std::atomic<int> inner = 0, moved = 0;
    parallel_for(3, [&](Index) {
      parallel_for(5, [&, outer = std::this_thread::get_id()](Index) {
        ++inner;
        if (std::this_thread::get_id() != outer) ++moved;
      });
    });
    REQUIRE(inner == 15);
    REQUIRE(moved == 0);
  });
}

TEST_CASE("an exception reaches the caller", "[parallel]") {
  on_every_executor([] {
    const auto throw_at = [](Index count, Index bad) {
      parallel_for(count, [bad](Index i) {
        if (i == bad) throw std::runtime_error("task " + std::to_string(i));
      });
    };
    REQUIRE_THROWS_WITH(throw_at(10, 3), "task 3");
    REQUIRE_THROWS_WITH(throw_at(1, 0), "task 0");
    REQUIRE_THROWS_WITH(throw_at(10, 9), "task 9");
    REQUIRE_NOTHROW(throw_at(10, 10));
  });
}

TEST_CASE("an exception of a loop inside a task reaches the caller", "[parallel]") {
  on_every_executor([] {
    REQUIRE_THROWS_WITH(
        parallel_for(3, [](Index) { parallel_for(3, [](Index) { throw std::runtime_error("deep"); }); }), "deep");
  });
}

TEST_CASE("of many exceptions one reaches the caller, and the next loop works", "[parallel]") {
  on_every_executor([] {
    REQUIRE_THROWS_AS(parallel_for(100, [](Index) { throw std::out_of_range("each"); }), std::out_of_range);
    std::atomic<int> runs = 0;
    parallel_for(100, [&](Index) { ++runs; });
    REQUIRE(runs == 100);
  });
}

TEST_CASE("a plain function is a task", "[parallel]") {
  static std::atomic<int> calls = 0;
  struct Plain {
    static void task(Index) { ++calls; }
  };
  ThreadPool pool(2);
  const ExecutorScope scope(pool);
  parallel_for(5, Plain::task);
  REQUIRE(calls == 5);
}

TEST_CASE("loops started from several threads of the caller do not mix", "[parallel]") {
  std::vector<std::atomic<int>> sums(3);
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < sums.size(); ++caller)
    callers.emplace_back([&sums, caller] {
      ThreadPool pool(2);
      const ExecutorScope scope(pool);
      parallel_for(100, [&](Index i) { sums[caller] += static_cast<int>(i); });
    });
  for (std::thread& caller : callers) caller.join();
  for (const auto& sum : sums) REQUIRE(sum == 4950);
}

}  // namespace parallel_test
