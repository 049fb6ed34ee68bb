// A unit for another instruction set than merganser::compiled: it makes its own instantiations.
#include <vector>

#include <merganser/io/models/model_loading.hpp>

#if MERGANSER_COMPILED
#error what was compiled for another instruction set does not count
#endif

using namespace merganser;

double sum_by_other_unit(const char* directory, const std::vector<int>& ids) {
  TokenBatch batch;
  batch.push_back(ids);
  return io::load_model<float>(directory).encode(batch).hidden.values.cast<double>().sum();
}
