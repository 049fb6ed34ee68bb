#include "allocations/counter.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include <Eigen/Core>

#include "support/catch.hpp"

using namespace merganser::testing;

#ifdef MERGANSER_TEST_COUNTS_MALLOC

extern "C" {
void* __libc_malloc(std::size_t) noexcept;
void* __libc_calloc(std::size_t, std::size_t) noexcept;
void* __libc_realloc(void*, std::size_t) noexcept;
void* __libc_memalign(std::size_t, std::size_t) noexcept;

void* malloc(std::size_t size) noexcept {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
  ++allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  *memory = __libc_memalign(alignment, size);
  return *memory != nullptr ? 0 : ENOMEM;
}
}

#endif

namespace {

/// What malloc counts is not counted again.
void* counted(void* memory) {
  if (!malloc_is_counted) ++allocations;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return counted(std::malloc(size > 0 ? size : 1)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(step, (size + step) / step * step));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  if (!malloc_is_counted) ++allocations;
  return std::malloc(size > 0 ? size : 1);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

TEST_CASE("allocations are counted, on every thread", "[allocations]") {
  std::unique_ptr<double> one;
  REQUIRE(allocations_in([&] { one = std::make_unique<double>(1.0); }) == 1);
  struct alignas(128) Wide {
    double value = 2;
  };
  std::unique_ptr<Wide> wide;
  REQUIRE(allocations_in([&] { wide = std::make_unique<Wide>(); }) == 1);
  REQUIRE(*one + wide->value == 3.0);
  std::unique_ptr<double> maybe;
  REQUIRE(allocations_in([&] { maybe.reset(new (std::nothrow) double(3)); }) == 1);
  REQUIRE(*maybe == 3.0);
  std::vector<int> list;
  REQUIRE(allocations_in([&] { std::thread([&] { list.assign(100, 1); }).join(); }) >= 2);
  REQUIRE(allocations_in([] {}) == 0);
}

TEST_CASE("what Eigen and the C library take is counted", "[allocations]") {
  if (!malloc_is_counted) return;
  Eigen::MatrixXf matrix;
  REQUIRE(allocations_in([&] { matrix.setZero(20, 20); }) == 1);
  REQUIRE(allocations_in([&] { matrix = (matrix * matrix).eval(); }) >= 1);
  void* memory = nullptr;
  REQUIRE(allocations_in([&] { memory = std::calloc(10, 10); }) == 1);
  REQUIRE(allocations_in([&] { memory = std::realloc(memory, 1000); }) == 1);
  std::free(memory);
  REQUIRE(matrix.sum() == 0);
}
