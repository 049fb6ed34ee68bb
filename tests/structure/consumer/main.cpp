// A user's first program.
#include <merganser/merganser.hpp>

#include <string_view>
#include <vector>

int main() {
  using namespace merganser;
  const std::vector<Index> lengths = {2, 0, 3};
  const RaggedBatch<float> batch(Matrix<float>::Ones(5, 4), SequenceOffsets::from_lengths(lengths));
  ThreadPool pool(2);
  const ExecutorScope scope(pool);
  std::vector<Index> squares(9);
  parallel_for(9, [&](Index i) { squares[static_cast<std::size_t>(i)] = i * i; });
  const bool right = squares.back() == 64 && batch.sequence(2).sum() == 12.0F;
  return right && std::string_view(MERGANSER_VERSION) == EXPECTED_VERSION ? 0 : 1;
}
