// Endless batches that can be gone on with anywhere.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include <merganser/data/batcher.hpp>
#include <merganser/data/data_cursor.hpp>
#include <merganser/data/example.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// Endless batches, of any kind. A value: a copy goes on by itself, and a stored cursor with the batch that was next.
struct BatchSource {
  std::function<Batch(DataCursor&)> draw;  ///< the batch at the cursor, which it moves on
  DataCursor cursor;

  Batch operator()() { return draw(cursor); }
};

/// Epoch after epoch over the examples, each in a new order, in batches of about equal lengths
/// (`LengthBucketedBatches`).
/// @throws std::invalid_argument if there are no examples, or the batch size is below 1
inline BatchSource epochs_of(std::vector<Example> examples, Index batch_size, std::uint64_t seed) {
  LengthBucketedBatches::Config config;
  config.batch_size = batch_size;
  config.seed = seed;
  BatchSource source;
  source.draw = [batches = LengthBucketedBatches(std::move(examples), config), seed](DataCursor& cursor) mutable {
    const LengthBucketedBatches::State wanted{seed, cursor.epoch, cursor.position};
    if (!(batches.state() == wanted)) batches.resume(wanted);
    Batch next = batches.next();
    cursor.epoch = batches.state().epoch;
    cursor.position = batches.state().position;
    return next;
  };
  return source;
}

}  // namespace merganser::data
