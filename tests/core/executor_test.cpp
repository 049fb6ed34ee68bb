#include <merganser/core/executor.hpp>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/reverse_executor.hpp"

namespace executor_test {

using namespace merganser;
using namespace merganser::testing;

class FourThreads final : public Executor {
 public:
  int thread_count() const override { return 4; }
  void run(LoopTasks& tasks) override { tasks.run(0, tasks.count()); }
};

int default_threads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

TEST_CASE("a scope chooses the executor of its thread, and the one before comes back", "[executor]") {
  REQUIRE(thread_count() == default_threads());
  FourThreads four;
  SerialExecutor serial;
  {
    const ExecutorScope outer(four);
    REQUIRE(thread_count() == 4);
    {
      const ExecutorScope inner(serial);
      REQUIRE(thread_count() == 1);
    }
    REQUIRE(thread_count() == 4);
    int in_other_thread = 0;
    std::thread([&] { in_other_thread = thread_count(); }).join();
    REQUIRE(in_other_thread == default_threads());
    try {
      const ExecutorScope inner(serial);
      throw std::runtime_error("out of the scope");
    } catch (const std::runtime_error&) {
    }
    REQUIRE(thread_count() == 4);
  }
  REQUIRE(thread_count() == default_threads());
}

TEST_CASE("tasks are run by range", "[executor]") {
  std::vector<Index> seen;
  auto task = [&](Index i) { seen.push_back(i); };
  LoopTasks tasks(7, task);
  REQUIRE(tasks.count() == 7);
  tasks.run(5, 7);
  tasks.run(2, 2);
  tasks.run(0, 2);
  tasks.rethrow_failure();
  REQUIRE(seen == std::vector<Index>{5, 6, 0, 1});
}

TEST_CASE("a constant task can be called", "[executor]") {
  Index sum = 0;
  const auto task = [&sum](Index i) { sum += i; };
  LoopTasks tasks(4, task);
  tasks.run(0, 4);
  REQUIRE(sum == 6);
}

TEST_CASE("the first exception of a loop is kept, and the tasks behind it are left out", "[executor]") {
  int runs = 0;
  auto task = [&](Index i) {
    ++runs;
    if (i >= 2) throw std::runtime_error("task " + std::to_string(i));
  };
  LoopTasks tasks(6, task);
  tasks.run(0, 4);
  tasks.run(4, 6);
  REQUIRE(runs == 3);
  REQUIRE_THROWS_WITH(tasks.rethrow_failure(), "task 2");
}

TEST_CASE("inside a task there is one thread, whatever executor is chosen there", "[executor]") {
  FourThreads four;
  const ExecutorScope scope(four);
  int inside = 0, chosen_inside = 0;
  auto task = [&](Index) {
    inside = thread_count();
    FourThreads other;
    const ExecutorScope inner(other);
    chosen_inside = thread_count();
    throw std::runtime_error("the task ends early");
  };
  LoopTasks tasks(1, task);
  tasks.run(0, 1);
  REQUIRE(inside == 1);
  REQUIRE(chosen_inside == 1);
  REQUIRE(thread_count() == 4);
}

TEST_CASE("the serial executor runs in rising order", "[executor]") {
  std::vector<Index> seen;
  auto task = [&](Index i) { seen.push_back(i); };
  LoopTasks tasks(3, task);
  SerialExecutor().run(tasks);
  REQUIRE(seen == std::vector<Index>{0, 1, 2});
}

TEST_CASE("the executor of the tests runs in falling order", "[executor]") {
  std::vector<Index> seen;
  auto task = [&](Index i) { seen.push_back(i); };
  LoopTasks tasks(3, task);
  ReverseExecutor reverse;
  reverse.run(tasks);
  REQUIRE(seen == std::vector<Index>{2, 1, 0});
  REQUIRE(reverse.loops == 1);
}

}  // namespace executor_test
