#include <merganser/core/floating_point_mode.hpp>

#include <cfenv>
#include <future>
#include <thread>

#include <merganser/core/executor.hpp>

#include "support/catch.hpp"

namespace floating_point_mode_test {

using namespace merganser;

// Whether arithmetic rounds upwards, as it does, not as the library of C says.
bool rounds_upwards() {
  volatile float one = 1, little = 0x1p-40F;
  return one + little > 1;
}

struct Upwards {
  Upwards() { std::fesetround(FE_UPWARD); }
  ~Upwards() { std::fesetround(FE_TONEAREST); }
};

struct Seen {
  bool in_task, afterwards;
};

/// What `look` sees in a task of a loop that is made under `Settings`, on a thread that is older, and on that thread
/// afterwards.
template <class Settings>
Seen seen_by_older_thread(bool (*look)()) {
  Seen seen{};
  std::promise<LoopTasks*> loop;
  std::thread worker([&] {
    loop.get_future().get()->run(0, 1);
    seen.afterwards = look();
  });
  {
    const Settings settings;
    auto task = [&](Index) { seen.in_task = look(); };
    LoopTasks tasks(1, task);
    loop.set_value(&tasks);
    worker.join();
  }
  return seen;
}

TEST_CASE("settings can be kept, used and given back", "[FloatingPointMode]") {
  const FloatingPointMode nearest = FloatingPointMode::current();
  {
    const Upwards upwards;
    REQUIRE(rounds_upwards());
    {
      const FloatingPointScope scope(nearest);
      REQUIRE_FALSE(rounds_upwards());
    }
    REQUIRE(rounds_upwards());
  }
  REQUIRE_FALSE(rounds_upwards());
}

TEST_CASE("the tasks of a loop run with the settings of the thread that made it", "[FloatingPointMode]") {
  const Seen seen = seen_by_older_thread<Upwards>(rounds_upwards);
  REQUIRE(seen.in_task);
  REQUIRE_FALSE(seen.afterwards);
}

#if defined(__SSE2__)
bool flushes_to_zero() {
  volatile float smallest = 0x1p-126F, half = 0.5F;
  return smallest * half == 0;
}

struct FlushToZero {
  static constexpr unsigned bit = 0x8000;
  FlushToZero() { _mm_setcsr(_mm_getcsr() | bit); }
  ~FlushToZero() { _mm_setcsr(_mm_getcsr() & ~bit); }
};

TEST_CASE("subnormal numbers are 0 in the tasks of a loop where they are to its caller", "[FloatingPointMode]") {
  const Seen seen = seen_by_older_thread<FlushToZero>(flushes_to_zero);
  REQUIRE(seen.in_task);
  REQUIRE_FALSE(seen.afterwards);
}
#endif

}  // namespace floating_point_mode_test
