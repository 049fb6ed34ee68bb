// Who runs the tasks of a parallel loop: the interface, and the executor in use on the calling thread.
#pragma once

#include <atomic>
#include <concepts>
#include <exception>
#include <memory>
#include <utility>

#include <merganser/core/floating_point_mode.hpp>
#include <merganser/core/process.hpp>
#include <merganser/core/types.hpp>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace merganser::inline MERGANSER_ISA {

class Executor;

namespace detail {

struct ThreadState {
  Executor* executor = nullptr;  ///< in use on this thread; none: the default
  bool inside_task = false;      ///< of a loop that an executor runs
};

inline constinit thread_local ThreadState thread_state{};

}  // namespace detail

/// The tasks 0 ... count - 1 of one loop, as an executor gets them. Refers to the task of the caller: lives as long as
/// the loop, and is neither copied nor moved.
class LoopTasks {
 public:
  /// Calls task(i); owns nothing and allocates nothing.
  template <class Task>
  requires std::invocable<Task&, Index> LoopTasks(Index count, Task& task)
      : count_(count), task_(std::addressof(task)), call_([](const void* callable, Index first, Index last) {
          Task& called = *static_cast<Task*>(const_cast<void*>(callable));
          for (Index i = first; i < last; ++i) called(i);
        }) {}
  LoopTasks(const LoopTasks&) = delete;
  LoopTasks& operator=(const LoopTasks&) = delete;
  ~LoopTasks() = default;

  Index count() const { return count_; }

  /// Runs tasks [first, last) on this thread, with the floating-point settings of the thread that made the loop; loops
  /// inside them run serially. Any thread may call it, several at once.
  /// An exception of a task is kept for the caller of the loop, and tasks that have not started yet are then left out.
  void run(Index first, Index last) noexcept {
    if (failed_.load(std::memory_order_relaxed)) return;
    const FloatingPointScope settings(mode_);
    const bool outer = std::exchange(detail::thread_state.inside_task, true);
    try {
      call_(task_, first, last);
    } catch (...) {
      if (!failed_.exchange(true)) failure_ = std::current_exception();
    }
    detail::thread_state.inside_task = outer;
  }

  /// Throws what the first task to fail threw, if one did; when all calls of `run` have returned.
  void rethrow_failure() {
    if (failed_.load(std::memory_order_relaxed)) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  Index count_;
  const void* task_;
  void (*call_)(const void*, Index, Index);
  FloatingPointMode mode_ = FloatingPointMode::current();
  std::atomic<bool> failed_ = false;
  std::exception_ptr failure_;
};

/// Runs the tasks of loops on threads of its own choice. A user's thread library takes part by a class of this kind.
class Executor {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor() = default;

  /// Threads that may work on one loop, the calling one among them; at least 1.
  virtual int thread_count() const = 0;

  /// Has every task run once, by calls of tasks.run in any order on any threads, and returns when all these calls have
  /// returned and the calling thread sees what they wrote. Called from every thread that uses this executor, several at
  /// once, but never from inside a task.
  virtual void run(LoopTasks& tasks) = 0;
};

/// Runs every loop on the thread that calls it.
class SerialExecutor final : public Executor {
 public:
  int thread_count() const override { return 1; }
  void run(LoopTasks& tasks) override { tasks.run(0, tasks.count()); }
};

#ifdef _OPENMP
/// The default where a program is compiled with OpenMP. OpenMP's own settings say how many threads there are. In a
/// child of fork loops run serially: a runtime of OpenMP that has lost its threads hangs.
class OpenmpExecutor final : public Executor {
 public:
  int thread_count() const override { return omp_in_parallel() != 0 || !home_.is_here() ? 1 : omp_get_max_threads(); }

  void run(LoopTasks& tasks) override {
    const Index count = tasks.count();
    if (!home_.is_here()) return tasks.run(0, count);
#pragma omp parallel for schedule(dynamic, 1)
    for (Index i = 0; i < count; ++i) tasks.run(i, i + 1);
  }

 private:
  HomeProcess home_;
};
#endif

namespace detail {

/// The executor of a loop that this thread starts now; none: serial.
inline Executor* current_executor() {
  if (thread_state.inside_task) return nullptr;
#ifdef _OPENMP
  static OpenmpExecutor openmp;
  if (thread_state.executor == nullptr) return &openmp;
#endif
  return thread_state.executor;
}

}  // namespace detail

/// Threads that a `parallel_for` called here and now may use.
inline int thread_count() {
  const Executor* executor = detail::current_executor();
  return executor != nullptr ? executor->thread_count() : 1;
}

/// While it lives, loops started by this thread run on an executor, which must live longer; then the one before is in
/// use again. To be destroyed on the thread and in the block that made it. Other threads are not affected: each chooses
/// for itself, and several may choose the same executor.
class ExecutorScope {
 public:
  [[nodiscard]] explicit ExecutorScope(Executor& executor)
      : before_(std::exchange(detail::thread_state.executor, &executor)) {}
  ExecutorScope(const ExecutorScope&) = delete;
  ExecutorScope& operator=(const ExecutorScope&) = delete;
  ~ExecutorScope() { detail::thread_state.executor = before_; }

 private:
  Executor* before_;
};

}  // namespace merganser
