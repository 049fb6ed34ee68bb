// The one parallel loop: serial by default, OpenMP where the user links merganser::openmp.
#pragma once

#include <exception>

#include <merganser/core/types.hpp>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace merganser {

/// Threads that a `parallel_for` called from this thread would use: 1 without OpenMP.
inline int thread_count() {
#ifdef _OPENMP
  return omp_in_parallel() != 0 ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

/// Sets the number of threads for loops started by the calling thread; does nothing without OpenMP.
inline void set_thread_count([[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads > 0 ? threads : 1);
#endif
}

/// Calls task(0) ... task(count - 1), each once, in any order and on any thread.
///
/// Tasks must write to disjoint places. How work is cut into tasks may depend on sizes but never on the number of
/// threads; then the number of threads never changes a result bit. Loops inside a task run serially.
/// The first exception thrown by a task is rethrown after the loop.
template <class Task>
void parallel_for(Index count, Task&& task) {
#ifdef _OPENMP
  if (count > 1 && thread_count() > 1) {
    std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1)
    for (Index i = 0; i < count; ++i) {
      try {
        task(i);
      } catch (...) {
#pragma omp critical(merganser_parallel_for_failure)
        if (!failure) failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
    return;
  }
#endif
  for (Index i = 0; i < count; ++i) task(i);
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
