// Counts the heap allocations of all threads: replaces operator new of the whole program, so only one source of a
// program may include it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace merganser::testing {

inline std::atomic<long> allocations = 0;

/// Allocations that run() makes.
template <class Run>
long allocations_in(Run&& run) {
  const long before = allocations;
  run();
  return allocations - before;
}

inline void* counted(void* memory) {
  ++allocations;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace merganser::testing

void* operator new(std::size_t size) { return merganser::testing::counted(std::malloc(size > 0 ? size : 1)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return merganser::testing::counted(std::aligned_alloc(step, (size + step) / step * step));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
