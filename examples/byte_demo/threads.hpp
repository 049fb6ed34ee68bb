// The threads of a program.
#pragma once

#include <algorithm>
#include <iostream>
#include <optional>

#include <merganser/core/executor.hpp>
#include <merganser/core/thread_pool.hpp>

namespace byte_demo {

/// As many as asked for, or as the machine has, for all loops as long as it lives. Where the system gives fewer, half
/// of those that it gives, as their stacks may be all the memory there is; a line on stderr says so.
class Threads {
 public:
  explicit Threads(std::optional<int> asked) {
    const int wanted = asked.value_or(merganser::hardware_threads());
    make(wanted);
    if (pool_->thread_count() < wanted) {
      make(std::max(1, pool_->thread_count() / 2));
      std::cerr << "threads: the system has no " << wanted << "; going on with " << pool_->thread_count() << "\n";
    }
    scope_.emplace(*pool_);
  }

 private:
  void make(int threads) {
    using Pool = merganser::ThreadPool;
    pool_.reset();
    pool_.emplace(threads, Pool::default_spin, Pool::Shortage::accept);
  }

  std::optional<merganser::ThreadPool> pool_;
  std::optional<merganser::ExecutorScope> scope_;
};

}  // namespace byte_demo
