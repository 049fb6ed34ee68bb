#include <merganser/core/memory_reserve.hpp>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include <merganser/core/types.hpp>

#include "support/catch.hpp"

namespace memory_reserve_test {

using namespace merganser;

/// Runs test() on a thread of its own, whose reserve is new.
template <class Test>
void on_new_thread(Test&& test) {
  std::thread(test).join();
}

constexpr std::size_t kib = 1024;

TEST_CASE("blocks are aligned, writable and as large as asked") {
  const std::vector<std::size_t> sizes{0, 1, 63, 64, 65, 256, 257, 1000, 4096, 4097, 1 << 20, (3 << 20) + 1};
  for (const std::size_t bytes : sizes) {
    void* const memory = MemoryReserve::allocate(bytes);
    REQUIRE(memory != nullptr);
    REQUIRE(reinterpret_cast<std::uintptr_t>(memory) % MemoryReserve::alignment == 0);
    std::memset(memory, 0xA5, bytes);
    MemoryReserve::release(memory);
  }
  MemoryReserve::release(nullptr);
  MemoryReserve::clear();
  REQUIRE(MemoryReserve::kept() == 0);
}

TEST_CASE("sizes are rounded up by at most a quarter, four steps a power of two") {
  if (!memory_is_reserved) return;
  on_new_thread([] {
    const ReserveLimitScope every_block_is_new(0);
    const auto rounded = [](std::size_t bytes) {
      void* const memory = MemoryReserve::allocate(bytes);
      const std::size_t size = MemoryReserve::size(memory);
      MemoryReserve::release(memory);
      return size;
    };
    REQUIRE(rounded(0) == 64);
    REQUIRE(rounded(64) == 64);
    REQUIRE(rounded(65) == 128);
    REQUIRE(rounded(512) == 512);
    REQUIRE(rounded(513) == 640);
    REQUIRE(rounded(1025) == 1280);
    std::size_t before = 0;
    for (std::size_t bytes = 1; bytes < 70000; ++bytes) {
      const std::size_t size = rounded(bytes);
      REQUIRE(size >= bytes);
      REQUIRE(size >= before);
      REQUIRE(rounded(size) == size);
      if (bytes >= 256) REQUIRE(size <= bytes + bytes / 4);
      before = size;
    }
  });
}

TEST_CASE("a block knows its size") {
  REQUIRE(MemoryReserve::size(nullptr) == 0);
  on_new_thread([] {
    void* const memory = MemoryReserve::allocate(1000);
    REQUIRE(MemoryReserve::size(memory) == (memory_is_reserved ? 1024 : 1000));
    MemoryReserve::release(memory);
  });
}

TEST_CASE("a freed block is given out again") {
  if (!memory_is_reserved) return;
  on_new_thread([] {
    void* const first = MemoryReserve::allocate(1000);
    REQUIRE(MemoryReserve::kept() == 0);
    MemoryReserve::release(first);
    REQUIRE(MemoryReserve::kept() == 1024);
    void* const again = MemoryReserve::allocate(1024);
    REQUIRE(again == first);
    REQUIRE(MemoryReserve::kept() == 0);
    MemoryReserve::release(again);
    void* const larger = MemoryReserve::allocate(1025);
    REQUIRE(larger != first);
    MemoryReserve::release(larger);
    REQUIRE(MemoryReserve::kept() == 1024 + 1280);
    MemoryReserve::clear();
    REQUIRE(MemoryReserve::kept() == 0);
  });
}

TEST_CASE("requests that are repeated find what they need, later smaller ones as well") {
  if (!memory_is_reserved) return;
  on_new_thread([] {
    const auto call = [](std::size_t unit) {  // what it takes at a time is less than what it takes in all
      std::vector<void*> held;
      for (const std::size_t size : std::initializer_list<std::size_t>{4, 1, 3, 9, 2, 12, 5, 1, 40}) {
        held.push_back(MemoryReserve::allocate(size * unit));
        if (held.size() > 3) {
          MemoryReserve::release(held.front());
          held.erase(held.begin());
        }
      }
      for (void* memory : held) MemoryReserve::release(memory);
      return MemoryReserve::kept();
    };
    const std::size_t first = call(10 * kib);
    REQUIRE(call(10 * kib) == first);
    REQUIRE(call(10 * kib) == first);
    for (const std::size_t unit : std::initializer_list<std::size_t>{9, 7, 6, 4, 10, 5, 3})
      REQUIRE(call(unit * kib) == first);
    REQUIRE(call(11 * kib) > first);
  });
}

TEST_CASE("a small request leaves large blocks to others") {
  if (!memory_is_reserved) return;
  on_new_thread([] {
    void* const large = MemoryReserve::allocate(160 * kib);
    MemoryReserve::release(large);
    MemoryReserve::release(MemoryReserve::allocate(160 * kib));  // once more: now blocks are lent to other sizes
    void* const tenth = MemoryReserve::allocate(16 * kib);
    REQUIRE(MemoryReserve::kept() == 160 * kib);
    for (int i = 0; i < 3; ++i) MemoryReserve::release(MemoryReserve::allocate(160 * kib));
    void* const half = MemoryReserve::allocate(80 * kib);
    REQUIRE(half == large);
    for (void* memory : {tenth, half}) MemoryReserve::release(memory);
    REQUIRE(MemoryReserve::kept() == (160 + 16) * kib);
  });
}

TEST_CASE("blocks of one class wait in one list") {
  if (!memory_is_reserved) return;
  on_new_thread([] {
    std::vector<void*> blocks;
    for (int i = 0; i < 10; ++i) blocks.push_back(MemoryReserve::allocate(200));
    for (void* memory : blocks) MemoryReserve::release(memory);
    REQUIRE(MemoryReserve::kept() == 10 * 256);
    for (int i = 10; i-- > 0;) REQUIRE(MemoryReserve::allocate(256) == blocks[static_cast<std::size_t>(i)]);
    REQUIRE(MemoryReserve::kept() == 0);
    for (void* memory : blocks) MemoryReserve::release(memory);
  });
}

TEST_CASE("a thread keeps no more than its limit") {
  if (!memory_is_reserved) return;
  on_new_thread([] {
    REQUIRE(MemoryReserve::limit() == MemoryReserve::default_limit);
    MemoryReserve::set_limit(10 * kib);
    std::vector<void*> blocks;
    for (int i = 0; i < 4; ++i) blocks.push_back(MemoryReserve::allocate(4 * kib));
    for (void* memory : blocks) MemoryReserve::release(memory);
    REQUIRE(MemoryReserve::kept() == 8 * kib);
    void* const large = MemoryReserve::allocate(64 * kib);
    MemoryReserve::release(large);
    REQUIRE(MemoryReserve::kept() == 8 * kib);
    MemoryReserve::set_limit(5 * kib);
    REQUIRE(MemoryReserve::kept() == 4 * kib);
    MemoryReserve::set_limit(0);
    REQUIRE(MemoryReserve::kept() == 0);
    MemoryReserve::release(MemoryReserve::allocate(64));
    REQUIRE(MemoryReserve::kept() == 0);
  });
  REQUIRE(MemoryReserve::limit() == MemoryReserve::default_limit);  // of this thread
}

TEST_CASE("a limit may hold for a scope") {
  if (!memory_is_reserved) return;
  on_new_thread([] {
    MemoryReserve::set_limit(12345);
    {
      const ReserveLimitScope nothing_kept(0);
      REQUIRE(MemoryReserve::limit() == 0);
      MemoryReserve::release(MemoryReserve::allocate(1000));
      REQUIRE(MemoryReserve::kept() == 0);
    }
    REQUIRE(MemoryReserve::limit() == 12345);
  });
}

TEST_CASE("a thread that frees what others made keeps nothing") {
  if (!memory_is_reserved) return;
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(MemoryReserve::allocate(kib));
  on_new_thread([&] {
    for (void* memory : blocks) {
      MemoryReserve::release(memory);
      REQUIRE(MemoryReserve::kept() == 0);
    }
    void* const own = MemoryReserve::allocate(kib);
    MemoryReserve::release(own);
    REQUIRE(MemoryReserve::kept() == kib);
  });
  MemoryReserve::clear();
}

TEST_CASE("memory may be freed while and after a thread's reserve ends") {
  static std::atomic<int> ended = 0;
  struct Late {
    ~Late() {  // made before the reserve is first used, so that it ends after it
      matrix.reset();
      const Matrix<double> fresh = Matrix<double>::Ones(30, 30);
      if (fresh.sum() == 900 && MemoryReserve::kept() == 0) ++ended;
    }
    std::unique_ptr<Matrix<double>> matrix;
  };
  on_new_thread([] {
    static thread_local Late late;
    late.matrix = std::make_unique<Matrix<double>>(100, 100);
    { const Matrix<double> other(20, 20); }
    REQUIRE((MemoryReserve::kept() > 0) == memory_is_reserved);
  });
  REQUIRE(ended == 1);
}

TEST_CASE("an impossible request is an error") {
  constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
  for (const std::size_t bytes : {most, most - 63, most / 2, most / 4})
    REQUIRE_THROWS_AS(MemoryReserve::allocate(bytes), std::bad_alloc);
}

}  // namespace memory_reserve_test
