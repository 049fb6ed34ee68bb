// A unit of a user's program: a trained model is loaded and writes.
#if __has_include(<merganser/io/models/model_loading.hpp>)
#include <merganser/io/models/model_loading.hpp>
#elif __has_include(<merganser/io/models/model_directory.hpp>)  // a checkout from before, to compare with
#include <merganser/io/models/model_directory.hpp>
#else
#include <merganser/io/model_directory.hpp>
#endif
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/models/beam_search.hpp>
#include <merganser/models/generation.hpp>

using namespace merganser;

TokenBatch written(const char* directory, const char* text) {
  const auto model = io::load_for_inference<float>(directory);
  TokenBatch batch;
  batch.push_back(data::ByteTokenizer().encode(text));
  models::GenerationOptions options;
  options.max_length = 100;
  TokenBatch result = models::generate(model, batch, options).ids;
  if (result.total() == 0) result = models::beam_search(model, batch, {}).best();
  return result;
}
