// Which process an object belongs to, where processes are copied by fork.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA {

/// The process that makes an object. A child of fork gets the object but none of the threads that serve it.
///
/// Costs a load a question and no system call: fork itself counts the generations (pthread_atfork). A child of clone or
/// vfork is not noticed; it is there to exec.
class HomeProcess {
 public:
  HomeProcess() : generation_(current()) {}

  /// False in a child that was forked since.
  bool is_here() const { return generations_.load(std::memory_order_relaxed) == generation_; }

 private:
  static std::uint32_t current() {
#if defined(__unix__) || defined(__APPLE__)
    [[maybe_unused]] static const int registered = ::pthread_atfork(nullptr, nullptr, [] { ++generations_; });
#endif
    return generations_.load(std::memory_order_relaxed);
  }

  static inline constinit std::atomic<std::uint32_t> generations_ = 0;  ///< forks from the first process to this one

  std::uint32_t generation_;
};

}  // namespace merganser
