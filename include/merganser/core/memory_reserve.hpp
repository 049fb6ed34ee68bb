// Memory that a thread keeps for its next call: a small caching allocator without locks.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA {

/// False under the address sanitizer, which finds the use of freed memory only where memory is really freed. Units with
/// and without it may be in one program: the blocks of both look alike, and both free those of the other.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool memory_is_reserved = false;
#elif defined(__has_feature)
inline constexpr bool memory_is_reserved = !__has_feature(address_sanitizer);
#else
inline constexpr bool memory_is_reserved = true;
#endif

/// Blocks of memory that this thread freed and will soon need again, as the caching allocators of GPU frameworks keep
/// them: a call that was made before takes its memory from here and none from the system.
///
/// Blocks come in size classes, four a power of two, from 64 bytes on. A request takes a block of its own class, else a
/// new one from operator new: so a call finds what it needs when it is repeated. Once nothing new was needed for as
/// many requests as there were before, or there is twice the memory that was ever in use, a request takes the smallest
/// free block above instead, of at most eight times its size: so calls of other sizes find what they need too. Freed
/// blocks wait in lists inside of themselves.
///
/// A thread keeps at most what it took from the system itself, so that one that only frees what others made keeps
/// nothing, and never more than its limit. What it keeps is freed when it ends. There is no lock that a child of fork
/// could find closed: it goes on with what its one thread keeps.
class MemoryReserve {
 public:
  static constexpr std::size_t alignment = 64;                        ///< of every block, in bytes
  static constexpr std::size_t default_limit = std::size_t{1} << 28;  ///< 256 MiB a thread

  MemoryReserve() = delete;

  /// Memory for so many bytes, also for none.
  /// @throws std::bad_alloc if there is not so much
  [[gnu::noinline]] static void* allocate(std::size_t bytes) {
    const std::size_t number = class_of(bytes);
    if (number >= classes) throw std::bad_alloc();
    if constexpr (!memory_is_reserved) return make(bytes, classes) + 1;
    Block* block = take(number);
    if (block == nullptr) {
      block = make(class_bytes(number), number);
      state_.made += block->bytes;
      state_.settled_from = state_.requests + std::min(state_.requests, most_requests_to_settle);
    }
    ++state_.requests;
    state_.used += block->bytes;
    state_.most_used = std::max(state_.most_used, state_.used);
    return block + 1;
  }

  /// Frees what `allocate` gave, on whichever thread.
  [[gnu::noinline]] static void release(void* memory) noexcept {
    if (memory == nullptr) return;
    Block* const block = static_cast<Block*>(memory) - 1;
    if (block->number == classes) return free(block);
    const std::size_t bytes = block->bytes;
    state_.used -= std::min(state_.used, bytes);
    if (!memory_is_reserved || state_.ended || state_.kept + bytes > std::min(state_.made, state_.limit)) {
      state_.made -= std::min(state_.made, bytes);
      return free(block);
    }
    static thread_local AtThreadEnd at_thread_end;  // from the first block that is kept on
    block->next = std::exchange(state_.free[block->number], block);
    state_.occupied[block->number / 64] |= std::uint64_t{1} << block->number % 64;
    state_.kept += bytes;
  }

  /// Other memory of so many bytes in place of what `allocate` gave, which may be null; the first `used` bytes move.
  /// @throws std::bad_alloc if there is not so much memory; the old memory is as it was
  [[gnu::noinline]] static void* exchange(void* memory, std::size_t used, std::size_t bytes) {
    void* const other = allocate(bytes);
    if (used > 0) std::memcpy(other, memory, used);
    release(memory);
    return other;
  }

  /// Bytes that this thread keeps now.
  static std::size_t kept() { return state_.kept; }

  static std::size_t limit() { return state_.limit; }

  /// Bytes that this thread keeps at most from now on; what is above goes back to the system now, largest blocks first.
  static void set_limit(std::size_t bytes) {
    state_.limit = bytes;
    shrink_to(bytes);
  }

  /// Gives everything that this thread keeps back to the system; the limit stays.
  static void clear() {
    shrink_to(0);
    state_.requests = state_.settled_from = 0;
    state_.most_used = state_.used;
  }

  /// The bytes of what `allocate` gave: of a new block up to a quarter more than was asked for; of null none.
  static std::size_t size(const void* memory) {
    return memory != nullptr ? (static_cast<const Block*>(memory) - 1)->bytes : 0;
  }

 private:
  /// What stands before the memory of a block.
  struct alignas(alignment) Block {
    Block* next;
    std::size_t bytes;   ///< behind it
    std::size_t number;  ///< of its class; `classes`: of none, to be freed at once
  };

  static constexpr std::size_t classes = 4 * 40;
  static constexpr std::size_t words = (classes + 63) / 64;
  static constexpr std::size_t most_times_larger = 8;
  static constexpr std::size_t small_bytes = 16 * 1024;  ///< blocks up to here serve all smaller requests
  static constexpr std::size_t most_requests_to_settle = 1 << 11;

  struct State {
    std::array<Block*, classes> free;           ///< lists
    std::array<std::uint64_t, words> occupied;  ///< which of them have a block
    std::size_t kept;                           ///< bytes in the lists
    std::size_t made;                           ///< bytes taken from the system and not given back, by this thread
    std::size_t used, most_used;                ///< bytes in the hands of callers, as far as this thread knows
    std::size_t requests, settled_from;         ///< number of the next request, and of the first that may take more
    std::size_t limit;
    bool ended;  ///< the thread is about to end: nothing is kept any more
  };
  static_assert(std::is_trivially_destructible_v<State>, "memory is freed until a thread's very end");

  struct AtThreadEnd {
    AtThreadEnd() = default;
    AtThreadEnd(const AtThreadEnd&) = delete;
    AtThreadEnd& operator=(const AtThreadEnd&) = delete;
    ~AtThreadEnd() {
      state_.ended = true;
      shrink_to(0);
    }
  };

  /// In units of the alignment the classes hold 1, 2, ... 8, 10, 12, 14, 16, 20, ...
  static std::size_t class_of(std::size_t bytes) {
    const std::size_t last = (std::max<std::size_t>(bytes, 1) - 1) / alignment;  // the last unit's number
    if (last < 4) return last;
    const auto shift = static_cast<std::size_t>(std::bit_width(last)) - 3;
    return 4 * shift + (last >> shift);
  }
  static std::size_t class_bytes(std::size_t number) {
    if (number < 4) return (number + 1) * alignment;
    return (number % 4 + 5) << (number / 4 - 1) << std::countr_zero(alignment);
  }

  /// A free block of the class or one above that may be taken for it, or null.
  static Block* take(std::size_t number) {
    if (state_.free[number] != nullptr) return pop(number);
    const std::size_t own = class_bytes(number);
    if (state_.requests < state_.settled_from && state_.made + own <= 2 * state_.most_used) return nullptr;
    const std::size_t end = std::min(class_of(std::max(most_times_larger * own, small_bytes)) + 1, classes);
    for (std::size_t word = number / 64; word * 64 < end; ++word) {
      std::uint64_t candidates = state_.occupied[word];
      if (word == number / 64) candidates &= ~std::uint64_t{0} << number % 64;
      if (candidates == 0) continue;
      const std::size_t found = word * 64 + static_cast<std::size_t>(std::countr_zero(candidates));
      return found < end ? pop(found) : nullptr;
    }
    return nullptr;
  }

  static Block* pop(std::size_t number) {
    Block* const block = state_.free[number];
    state_.free[number] = block->next;
    if (block->next == nullptr) state_.occupied[number / 64] &= ~(std::uint64_t{1} << number % 64);
    state_.kept -= block->bytes;
    return block;
  }

  static void shrink_to(std::size_t bytes) {
    for (std::size_t number = classes; number-- > 0;)
      while (state_.kept > bytes && state_.free[number] != nullptr) {
        state_.made -= std::min(state_.made, class_bytes(number));
        free(pop(number));
      }
  }

  /// @throws std::bad_alloc if there is not so much memory
  static Block* make(std::size_t bytes, std::size_t number) {
    return new (::operator new(sizeof(Block) + bytes, std::align_val_t(alignment))) Block{nullptr, bytes, number};
  }
  static void free(Block* block) noexcept { ::operator delete(block, std::align_val_t(alignment)); }

  static inline constinit thread_local State state_{{}, {}, 0, 0, 0, 0, 0, 0, default_limit, false};
};

/// Another limit for this thread while it lives: 0 where large blocks will not be needed again.
class ReserveLimitScope {
 public:
  explicit ReserveLimitScope(std::size_t bytes) : before_(MemoryReserve::limit()) { MemoryReserve::set_limit(bytes); }
  ReserveLimitScope(const ReserveLimitScope&) = delete;
  ReserveLimitScope& operator=(const ReserveLimitScope&) = delete;
  ~ReserveLimitScope() { MemoryReserve::set_limit(before_); }

 private:
  std::size_t before_;
};

}  // namespace merganser
