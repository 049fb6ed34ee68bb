// A user's first program.
#include <merganser/merganser.hpp>

#include <string_view>
#include <vector>

int main() {
  using namespace merganser;
  const std::vector<Index> lengths = {2, 0, 3};
  const RaggedBatch<float> batch(Matrix<float>::Ones(5, 4), SequenceOffsets::from_lengths(lengths));
  return batch.sequence(2).sum() == 12.0F && std::string_view(MERGANSER_VERSION) == EXPECTED_VERSION ? 0 : 1;
}
