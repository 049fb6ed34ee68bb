// A unit of a user's program: a trained model is loaded, trained further and saved.
#if __has_include(<merganser/io/models/model_directory.hpp>)
#include <merganser/io/models/model_directory.hpp>
#else  // a checkout from before io/ had sub-rooms, to compare with
#include <merganser/io/model_directory.hpp>
#endif
#include <merganser/data/batcher.hpp>
#include <merganser/data/denoising.hpp>
#include <merganser/data/text_corpus.hpp>
#include <merganser/training/trainer.hpp>

using namespace merganser;

void trained_further(const char* directory, const char* text, const char* saved) {
  using Model = models::EncoderDecoder<float>;
  Model model = io::load_model<float>(directory);
  const auto corpus = data::TextCorpus::read(text);
  Rng rng(1);
  const auto draw = [&](Rng& r) {
    return data::denoise(data::ByteTokenizer().encode(corpus.random_window(64, r), data::AddEos::no), {}, r);
  };
  training::Trainer<Model> trainer(model, {});
  trainer.run(1000, [&] { return data::make_random_batch(draw, 32, rng); });
  io::save_model(model, saved);
}
