// A unit of a user's program: a trained model is loaded and encodes texts.
#if __has_include(<merganser/io/models/model_loading.hpp>)
#include <merganser/io/models/model_loading.hpp>
#elif __has_include(<merganser/io/models/model_directory.hpp>)  // a checkout from before, to compare with
#include <merganser/io/models/model_directory.hpp>
#else
#include <merganser/io/model_directory.hpp>
#endif
#include <merganser/data/byte_tokenizer.hpp>

using namespace merganser;

Matrix<float> encoded(const char* directory, const char* text) {
  const auto model = io::load_for_inference<float>(directory);
  TokenBatch batch;
  batch.push_back(data::ByteTokenizer().encode(text));
  return model.encode(batch).hidden.values;
}
