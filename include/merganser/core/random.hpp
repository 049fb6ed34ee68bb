// Random numbers whose sequence depends on the seed alone, not on the standard library.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A small random generator with its own distributions, so that a seed gives the same numbers everywhere.
///
/// xoshiro256++ seeded by splitmix64 (Blackman and Vigna 2021, arXiv 1805.01407). A value type of 32 bytes: copy it to
/// repeat a sequence, store `state()` to resume it. Not safe to share between threads; give each its own `fork`.
class Rng {
 public:
  using State = std::array<std::uint64_t, 4>;

  explicit Rng(std::uint64_t seed = 0) {
    for (std::uint64_t& word : state_) word = split_mix(seed);
  }

  static Rng from_state(const State& state) {
    Rng rng;
    rng.state_ = state;
    return rng;
  }

  const State& state() const { return state_; }

  /// 64 random bits.
  std::uint64_t next() {
    const std::uint64_t result = rotate(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  /// Uniform in [0, 1), with 53 random bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  /// Uniform in [0, count); count must be positive.
  std::uint64_t below(std::uint64_t count) {
    const std::uint64_t reject_under = (0 - count) % count;
    std::uint64_t draw = next();
    while (draw < reject_under) draw = next();
    return draw % count;
  }

  /// Normal with mean 0 and standard deviation 1 (Box-Muller, one value a pair so that no state is hidden).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

  /// Standard Gumbel: -log(-log(u)), with u strictly between 0 and 1 so that the result is finite.
  double gumbel() { return -std::log(-std::log((static_cast<double>(next() >> 12) + 0.5) * 0x1.0p-52)); }

  /// True with the given probability in [0, 1].
  bool bernoulli(double probability) { return uniform() < probability; }

  /// A generator for an independent purpose; advances this one by one draw.
  Rng fork() { return Rng(next()); }

 private:
  static std::uint64_t rotate(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

  static std::uint64_t split_mix(std::uint64_t& seed) {
    seed += 0x9e3779b97f4a7c15U;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }

  State state_{};
};

}  // namespace merganser
