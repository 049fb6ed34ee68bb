// How many steps fit into a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <merganser/core/types.hpp>
#include <merganser/training/recipe.hpp>
#include <merganser/training/trainer.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// The steps of a run that fill so many seconds, at least 1, from the speed of a few gated steps on a copy of the
/// model. What the measuring takes is part of the time.
/// @param next_batch as of `Trainer::run`; a value, so that the caller's goes on where it was
template <class Model, class NextBatch>
Index steps_in_time(const Model& model, const Recipe& recipe, NextBatch next_batch, double seconds,
                    std::uint64_t seed) {
  using Clock = std::chrono::steady_clock;
  constexpr Index unmeasured_steps = 2, probe_steps = 12;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  Model copy = model;
  Recipe gated = recipe;
  gated.gate_open_until = 0;
  Trainer<Model> trainer(copy, trainer_config(gated, model, probe_steps, seed));
  const auto start = Clock::now();
  trainer.run(unmeasured_steps, next_batch);
  const auto measured_from = Clock::now();
  trainer.run(probe_steps, next_batch);
  const double per_step = seconds_since(measured_from) / static_cast<double>(probe_steps);
  return std::max<Index>(1, static_cast<Index>((seconds - seconds_since(start)) / per_step));
}

}  // namespace merganser::training
