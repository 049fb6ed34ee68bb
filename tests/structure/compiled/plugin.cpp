// A unit of a shared library that links merganser::compiled.
#include <vector>

#include <merganser/io/models/model_loading.hpp>

using namespace merganser;

double sum_by_plugin(const char* directory, const std::vector<int>& ids) {
  TokenBatch batch;
  batch.push_back(ids);
  return io::load_model<float>(directory).encode(batch).hidden.values.cast<double>().sum();
}
