// How a thread rounds and whether subnormal numbers are 0 to it, which the threads of a loop take over from its caller.
#pragma once

#include <cfenv>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA {

/// The floating-point settings of a thread: rounding, flushing of subnormal numbers, traps. A program sets them for one
/// thread at a time; results of the library's loops depend on those of the thread that starts them alone.
class FloatingPointMode {
 public:
  /// Those of the calling thread.
  static FloatingPointMode current() {
    FloatingPointMode mode;
#if defined(__SSE__)
    mode.state_ = _mm_getcsr() & ~flags;
#else
    std::fegetenv(&mode.state_);
#endif
    return mode;
  }

  /// Makes them those of the calling thread.
  void use() const {
#if defined(__SSE__)
    const unsigned now = _mm_getcsr();
    if ((now & ~flags) != state_) _mm_setcsr(state_ | (now & flags));
#else
    std::fesetenv(&state_);
#endif
  }

 private:
#if defined(__SSE__)
  static constexpr unsigned flags = 0x3F;  ///< of what has happened, which is no setting
  unsigned state_ = 0;
#else
  std::fenv_t state_{};
#endif
};

/// Settings for the calling thread while it lives.
class FloatingPointScope {
 public:
  explicit FloatingPointScope(const FloatingPointMode& mode) { mode.use(); }
  FloatingPointScope(const FloatingPointScope&) = delete;
  FloatingPointScope& operator=(const FloatingPointScope&) = delete;
  ~FloatingPointScope() { before_.use(); }

 private:
  FloatingPointMode before_ = FloatingPointMode::current();
};

}  // namespace merganser
