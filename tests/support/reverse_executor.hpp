// A user's own executor, as unlike the others as it can be.
#pragma once

#include <merganser/core/executor.hpp>

namespace merganser::testing {

/// Runs the last task first, on the calling thread, and counts loops.
class ReverseExecutor final : public Executor {
 public:
  int thread_count() const override { return 1; }

  void run(LoopTasks& tasks) override {
    ++loops;
    for (Index i = tasks.count(); i-- > 0;) tasks.run(i, i + 1);
  }

  int loops = 0;
};

}  // namespace merganser::testing
