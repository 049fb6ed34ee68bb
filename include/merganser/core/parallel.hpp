// The one parallel loop: serial unless the calling thread uses an executor.
#pragma once

#include <merganser/core/executor.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA {

/// Calls task(0) ... task(count - 1), each once, in any order, on the threads of the executor in use (`ExecutorScope`):
/// a `ThreadPool`, one of the user's own, or OpenMP where the program is compiled with it. Serial in rising order if
/// there is none.
///
/// Tasks must write to disjoint places. How work is cut into tasks may depend on sizes but never on the number of
/// threads; then neither executor nor number of threads changes a result bit. Loops inside a task run serially.
/// The first exception thrown by a task is rethrown after the loop; tasks that have not started by then may never run.
template <class Task>
void parallel_for(Index count, Task&& task) {
  Executor* const executor = count > 1 ? detail::current_executor() : nullptr;
  if (executor == nullptr) {
    for (Index i = 0; i < count; ++i) task(i);
    return;
  }
  auto call = [&task](Index i) { task(i); };
  LoopTasks tasks(count, call);
  executor->run(tasks);
  tasks.rethrow_failure();
}

/// Loops of fewer operations than this are over sooner than a second thread can wake.
inline constexpr Index parallel_from = 1 << 15;

/// The same for tasks of about `work` arithmetic operations together: on the calling thread where that is little.
template <class Task>
void parallel_for(Index count, Index work, Task&& task) {
  if (work >= parallel_from) return parallel_for(count, task);
  for (Index i = 0; i < count; ++i) task(i);
}

}  // namespace merganser
