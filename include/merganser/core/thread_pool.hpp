// Threads of our own for parallel loops: they claim work in chunks, and wait by a short spin and then sleep.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/executor.hpp>
#include <merganser/core/process.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA {

namespace detail {

/// Tells the processor that this thread only waits.
inline void pause_in_spin() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Lets threads wait for a change of atomic variables that another thread announces: first spinning, then asleep.
/// Variables are changed and looked at with sequential consistency: either the changing thread sees that somebody
/// sleeps, or who goes to sleep sees the change.
class SpinThenSleep {
 public:
  using Clock = std::chrono::steady_clock;

  /// Returns when changed() is true.
  template <class Changed>
  void wait(std::chrono::microseconds spin, Changed changed) {
    constexpr int looks_a_clock_read = 32;
    const auto end = Clock::now() + spin;
    do {
      for (int look = 0; look < looks_a_clock_read; ++look) {
        if (changed()) return;
        pause_in_spin();
      }
    } while (Clock::now() < end);
    std::unique_lock lock(mutex_);
    ++sleepers_;
    woken_.wait(lock, changed);
    --sleepers_;
  }

  /// To be called after the change; costs no system call while nobody sleeps.
  void announce() {
    if (sleepers_ == 0) return;
    { const std::lock_guard lock(mutex_); }  // whoever has counted itself is asleep now, or will see the change
    woken_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  std::atomic<int> sleepers_ = 0;
};

}  // namespace detail

/// Threads that the machine runs at once; at least 1.
inline int hardware_threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

/// An executor with threads of its own; the thread that starts a loop works too.
///
/// A loop never waits for a thread that has not begun to work on it: where another process keeps a processor busy, the
/// others do the work. Several threads may use one pool: while it runs a loop of one of them, the loops of the others
/// run serially, each on the thread that started it. A loop allocates nothing. The pool is destroyed when no loop runs;
/// its threads are joined then.
///
/// In a child of fork, which has none of its threads, a pool of the parent runs loops serially, and can be destroyed;
/// the child may make one of its own. Only a task that forks must not return in the child: there its loop never ends.
class ThreadPool final : public Executor {
 public:
  /// How long a thread looks for work or for the end of a loop before it sleeps: about as long as waking one up takes.
  /// One that had to wait longer for its last loop sleeps at once: its spin could keep the caller off a processor.
  static constexpr std::chrono::microseconds default_spin{50};

  /// What happens where the system gives fewer threads, because a limit on threads or memory is reached.
  enum class Shortage { fail, accept };

  /// `threads`: that work on one loop, the calling one among them; `thread_count` says how many there are.
  /// @throws std::invalid_argument if threads is less than 1, std::system_error if the system has no more threads and
  /// a shortage is not accepted
  explicit ThreadPool(int threads = hardware_threads(), std::chrono::microseconds spin = default_spin,
                      Shortage shortage = Shortage::fail)
      : spin_(spin) {
    check_argument(threads >= 1, "ThreadPool", "threads", threads, "at least 1");
    workers_.reserve(static_cast<std::size_t>(threads - 1));
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      if (shortage == Shortage::accept) return;
      stop();
      throw;
    } catch (...) {
      stop();
      throw;
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() override {
    if (home_.is_here())
      stop();
    else
      forget();
  }

  int thread_count() const override { return home_.is_here() ? static_cast<int>(workers_.size()) + 1 : 1; }

  void run(LoopTasks& tasks) override {
    if (workers_.empty() || !home_.is_here() || busy_.exchange(true, std::memory_order_acquire))
      return tasks.run(0, tasks.count());
    tasks_ = &tasks;
    chunk_ = std::max<Index>(1, tasks.count() / (chunks_a_thread * thread_count()));
    next_.store(0, std::memory_order_relaxed);
    participants_ = open;
    ++loops_;
    begun_.announce();
    run_chunks();
    if ((participants_ -= open) != 0) ended_.wait(spin_, [this] { return participants_ == 0; });
    busy_.store(false, std::memory_order_release);
  }

 private:
  /// In `participants_`, beside the number of workers inside the loop: more workers may enter.
  static constexpr std::uint32_t open = std::uint32_t{1} << 31;
  static constexpr Index chunks_a_thread = 32;
  static constexpr std::size_t cache_line = 64;

  void work() {
    using Clock = detail::SpinThenSleep::Clock;
    std::uint32_t seen = 0;
    bool soon = true;  // the next loop is expected before a spin is over
    while (true) {
      const auto since = Clock::now();
      begun_.wait(soon ? spin_ : std::chrono::microseconds(0), [&] { return loops_ != seen; });
      soon = Clock::now() - since < 2 * spin_;  // waking up took a part of it
      seen = loops_;
      if (stopping_) return;
      if (!enter()) continue;  // the loop is over
      run_chunks();
      if (--participants_ == 0) ended_.announce();
    }
  }

  /// Joins the loop, which is then not over before this worker leaves; false when there is none to join.
  bool enter() {
    std::uint32_t now = participants_;
    while ((now & open) != 0)
      if (participants_.compare_exchange_weak(now, now + 1)) return true;
    return false;
  }

  void run_chunks() {
    const Index count = tasks_->count(), chunk = chunk_;
    while (true) {
      const Index first = next_.fetch_add(chunk, std::memory_order_relaxed);
      if (first >= count) return;
      tasks_->run(first, std::min(first + chunk, count));
    }
  }

  void stop() {
    stopping_ = true;
    ++loops_;
    begun_.announce();
    for (std::thread& worker : workers_) worker.join();
  }

  /// In a child of fork. What the destructors of these would wait for, the threads, is in the parent.
  void forget() {
    for (std::thread& worker : workers_) ::new (&worker) std::thread;
    for (detail::SpinThenSleep* wait : {&begun_, &ended_}) ::new (wait) detail::SpinThenSleep;
  }

  HomeProcess home_;
  std::chrono::microseconds spin_;
  std::vector<std::thread> workers_;
  detail::SpinThenSleep begun_, ended_;
  std::atomic<bool> busy_ = false, stopping_ = false;
  std::atomic<std::uint32_t> loops_ = 0;  ///< begun so far

  // Of the loop that runs. Written while nobody participates.
  LoopTasks* tasks_ = nullptr;
  Index chunk_ = 1;
  alignas(cache_line) std::atomic<std::uint32_t> participants_ = 0;
  alignas(cache_line) std::atomic<Index> next_ = 0;  ///< task that nobody has claimed yet
};

}  // namespace merganser
