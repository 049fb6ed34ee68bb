// The threads of a program.
#pragma once

#include <algorithm>
#include <optional>
#include <ostream>

#include <merganser/core/executor.hpp>
#include <merganser/core/thread_pool.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// As many as asked for, or as the machine has, for all loops that the calling thread starts while it lives. Where the
/// system gives fewer, half of those that it gives, as their stacks may be all the memory there is; a line says so.
class ProgramThreads {
 public:
  /// @param notes where that line goes
  ProgramThreads(std::optional<int> asked, std::ostream& notes) {
    const int wanted = asked.value_or(hardware_threads());
    make(wanted);
    if (pool_->thread_count() < wanted) {
      make(std::max(1, pool_->thread_count() / 2));
      notes << "threads: the system has no " << wanted << "; going on with " << pool_->thread_count() << "\n";
    }
    scope_.emplace(*pool_);
  }

 private:
  void make(int threads) {
    pool_.reset();
    pool_.emplace(threads, ThreadPool::default_spin, ThreadPool::Shortage::accept);
  }

  std::optional<ThreadPool> pool_;
  std::optional<ExecutorScope> scope_;
};

}  // namespace merganser::runs
