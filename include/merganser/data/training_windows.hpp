// How long the texts are that a model is trained on.
#pragma once

#include <cstdint>
#include <functional>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/example.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// A batch of texts as long as `window`, or the next of twice as many of half the length, or of four times as many, and
/// so on down to `shortest`, each length equally likely. Copying is learned from short texts soon, from long ones late,
/// and what was learned serves both.
class TrainingWindows {
 public:
  /// @param window bytes of the longest texts
  /// @param shortest no text has fewer bytes; as long as the window: all texts have one length
  /// @param batch_size sequences as long as `window`
  /// @throws std::invalid_argument if one is below 1, or the shortest longer than the window
  TrainingWindows(Index window, Index shortest, Index batch_size)
      : window_(window), shortest_(shortest), batch_size_(batch_size) {
    check_argument(shortest >= 1, "TrainingWindows", "shortest", shortest, "at least 1");
    check_argument(window >= shortest, "TrainingWindows", "window", window, "at least the shortest");
    check_argument(batch_size >= 1, "TrainingWindows", "batch_size", batch_size, "at least 1");
  }

  Index window() const { return window_; }
  Index shortest() const { return shortest_; }

  /// @param draw makes an example of so many bytes
  Batch operator()(const std::function<Example(Index, Rng&)>& draw, Rng& rng) const {
    std::uint64_t lengths = 1;
    while (window_ >> lengths >= shortest_) ++lengths;
    const std::uint64_t halvings = lengths > 1 ? rng.below(lengths) : 0;
    return make_random_batch([&](Rng& r) { return draw(window_ >> halvings, r); }, batch_size_ << halvings, rng);
  }

 private:
  Index window_, shortest_, batch_size_;
};

}  // namespace merganser::data
