// Batches: freshly drawn ones, and epochs over examples with those of similar length together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/example.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// Draws `batch_size` examples one after the other. @throws std::invalid_argument if batch_size is below 1
template <ExampleSource Source>
Batch make_random_batch(Source&& source, Index batch_size, Rng& rng) {
  check_argument(batch_size >= 1, "make_random_batch", "batch_size", batch_size, "at least 1");
  Batch batch;
  for (Index i = 0; i < batch_size; ++i) batch.push_back(source(rng));
  return batch;
}

/// Endless epochs over a set of examples, every example exactly once in each, shuffled anew each time.
///
/// An epoch's order depends on the seed and the epoch's number alone, so a few numbers resume it anywhere. Examples are
/// shuffled, ordered by their length in steps of `bucket_width`, cut into batches, and the batches shuffled.
class LengthBucketedBatches {
 public:
  struct Config {
    Index batch_size = 32;                                 ///< most sequences in a batch
    Index max_tokens = std::numeric_limits<Index>::max();  ///< most tokens in a batch, source and target together
    Index bucket_width = 16;                               ///< tokens; lengths in one step count as equal
    std::uint64_t seed = 0;
  };

  /// Where the run stands: enough to go on from there with the same examples and Config.
  struct State {
    std::uint64_t seed = 0;
    std::uint64_t epoch = 0;  ///< of the next batch, from 0
    Index position = 0;       ///< of the next batch within its epoch, from 0

    bool operator==(const State&) const = default;
  };

  /// An example above `max_tokens` makes a batch of its own.
  /// @throws std::invalid_argument if there are no examples, or a number in the Config is below 1
  LengthBucketedBatches(std::vector<Example> examples, const Config& config)
      : examples_(std::move(examples)), config_(config), state_{config.seed, 0, 0} {
    check_argument(!examples_.empty(), "LengthBucketedBatches", "examples.size()", examples_.size(), "at least 1");
    check_argument(config.batch_size >= 1, "LengthBucketedBatches", "batch_size", config.batch_size, "at least 1");
    check_argument(config.max_tokens >= 1, "LengthBucketedBatches", "max_tokens", config.max_tokens, "at least 1");
    check_argument(config.bucket_width >= 1, "LengthBucketedBatches", "bucket_width", config.bucket_width,
                   "at least 1");
    plan_ = plan_epoch(state_.seed, state_.epoch);
  }

  /// The next batch; after the last one of an epoch the next epoch begins.
  Batch next() {
    Batch batch;
    for (const std::size_t i : plan_[static_cast<std::size_t>(state_.position)]) batch.push_back(examples_[i]);
    if (state_.position + 1 < batches_in_epoch()) {
      ++state_.position;
    } else {
      plan_ = plan_epoch(state_.seed, state_.epoch + 1);
      ++state_.epoch;
      state_.position = 0;
    }
    return batch;
  }

  /// Batches in the epoch of the next batch; it can differ between epochs when `max_tokens` cuts.
  Index batches_in_epoch() const { return std::ssize(plan_); }

  const std::vector<Example>& examples() const { return examples_; }
  const State& state() const { return state_; }

  /// Goes on from a stored state. @throws std::invalid_argument if the epoch has no such position; nothing changes then
  void resume(const State& state) {
    Plan plan = plan_epoch(state.seed, state.epoch);
    check_argument(state.position >= 0 && state.position < std::ssize(plan), "LengthBucketedBatches::resume",
                   "position", state.position,
                   "a batch number below " + std::to_string(plan.size()) + ", the batches of that epoch");
    plan_ = std::move(plan);
    state_ = state;
  }

 private:
  using Plan = std::vector<std::vector<std::size_t>>;  // the examples of each batch

  template <class Value>
  static void shuffle(std::vector<Value>& values, Rng& rng) {
    for (std::size_t left = values.size(); left > 1; --left) std::swap(values[left - 1], values[rng.below(left)]);
  }

  Plan plan_epoch(std::uint64_t seed, std::uint64_t epoch) const {
    Rng rng(Rng(seed).next() + epoch);
    std::vector<std::size_t> order(examples_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    shuffle(order, rng);
    std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      return examples_[a].token_count() / config_.bucket_width < examples_[b].token_count() / config_.bucket_width;
    });

    Plan plan;
    Index room = 0;  // tokens that still fit into the last batch
    for (const std::size_t i : order) {
      const Index tokens = examples_[i].token_count();
      if (plan.empty() || tokens > room || std::ssize(plan.back()) == config_.batch_size) {
        plan.emplace_back();
        room = config_.max_tokens;
      }
      plan.back().push_back(i);
      room -= std::min(tokens, room);
    }
    shuffle(plan, rng);
    return plan;
  }

  std::vector<Example> examples_;
  Config config_;
  State state_;
  Plan plan_;
};

}  // namespace merganser::data
