// Where a source of batches stands.
#pragma once

#include <cstdint>

#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// Enough for a source of batches to go on with the batch that would have come next.
///
/// Sources that draw use `random`, sources that go through epochs `epoch` and `position` (see
/// `LengthBucketedBatches::State`); what a source does not use stays as it is.
struct DataCursor {
  Rng random = Rng();
  std::uint64_t epoch = 0;  ///< of the next batch, from 0
  Index position = 0;       ///< of the next batch within its epoch, from 0

  bool operator==(const DataCursor& other) const {
    return random.state() == other.random.state() && epoch == other.epoch && position == other.position;
  }
};

}  // namespace merganser::data
