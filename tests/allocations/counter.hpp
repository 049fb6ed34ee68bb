// The number of heap allocations of all threads of a program whose allocation functions count (counting_test.cpp).
#pragma once

#include <atomic>

namespace merganser::testing {

/// Calls of operator new and, where `malloc_is_counted`, of malloc and its relatives.
inline std::atomic<long> allocations = 0;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define MERGANSER_TEST_SANITIZED 1
#endif
#endif

/// The sanitizers have functions of their own; only the GNU library has names for those that are replaced.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(MERGANSER_TEST_SANITIZED)
#define MERGANSER_TEST_COUNTS_MALLOC 1
inline constexpr bool malloc_is_counted = true;
#else
inline constexpr bool malloc_is_counted = false;
#endif

/// Allocations that run() makes.
template <class Run>
long allocations_in(Run&& run) {
  const long before = allocations;
  run();
  return allocations - before;
}

}  // namespace merganser::testing
