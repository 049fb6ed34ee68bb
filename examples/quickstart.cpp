// Merging a ragged batch: three sequences of different length go through a delete gate, and what it deletes is gone.
// Prints the gate values, the positions that are kept, and the shapes before and after.
#include <algorithm>
#include <cstddef>
#include <iomanip>
#include <iostream>
#include <vector>

#include <merganser/merganser.hpp>

using namespace merganser;

int main() {
  constexpr Index width = 16;
  Rng rng(1);

  // A batch: all rows one below the other, without padding. Yours would be the hidden states of your model.
  const std::vector<Index> lengths = {9, 3, 6};
  Matrix<float> hidden(18, width);
  nn::fill_normal(hidden, 1.0, rng);
  const RaggedBatch<float> batch(hidden, SequenceOffsets::from_lengths(lengths));

  // A gate. A new one keeps everything and learns to delete; this one is made decided at random instead.
  merge::DeleteGate<float>::Config config;
  config.width = width;
  config.initial_bias = 0;
  merge::DeleteGate<float> gate(config);
  gate.initialize(4.0, rng);

  // One value a token, near 0 keeps, near -30 deletes; then every sequence keeps its rows above the
  // threshold, or its highest if there is none.
  const merge::GateValues<float> said = gate.forward({batch.values});
  const double threshold = gate.default_threshold();
  const RaggedBatch<float> shorter =
      merge::compact(batch, merge::deletion_plans<float>(said.values, batch.offsets, threshold, {}));

  std::cout << std::fixed << std::setprecision(1);
  for (Index i = 0; i < batch.count(); ++i) {
    std::cout << "sequence " << i << "\n  gate values   ";
    for (Index t = batch.offsets.begin(i); t < batch.offsets.end(i); ++t) std::cout << std::setw(7) << said.values[t];
    std::cout << "\n  kept positions";
    for (Index t = shorter.offsets.begin(i); t < shorter.offsets.end(i); ++t) std::cout << ' ' << shorter.positions[t];
    std::cout << "\n  " << batch.offsets.length(i) << " tokens before, " << shorter.offsets.length(i) << " after\n";
  }
  std::cout << "batch [" << batch.total() << " x " << width << "] before, [" << shorter.total() << " x "
            << shorter.values.cols() << "] after\n";

  // What is left are rows of the batch, unchanged, at their positions: those above the threshold, or one at least.
  bool right = shorter.total() < batch.total();
  for (Index i = 0; i < batch.count(); ++i) {
    Index above = 0;
    for (Index t = batch.offsets.begin(i); t < batch.offsets.end(i); ++t)
      if (said.values[t] > threshold) ++above;
    right = right && shorter.offsets.length(i) == std::max<Index>(above, 1);
    for (Index t = shorter.offsets.begin(i); t < shorter.offsets.end(i); ++t)
      right = right && shorter.values.row(t) == batch.sequence(i).row(shorter.positions[t]);
  }
  if (!right) std::cout << "the rows that are left are not those that the gate kept\n";
  return right ? 0 : 1;
}
