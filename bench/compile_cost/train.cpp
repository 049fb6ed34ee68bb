// A unit of a user's program: a trained model is loaded, trained further and saved.
#include <merganser/data/text_corpus.hpp>
#include <merganser/data/text_task.hpp>
#include <merganser/data/training_windows.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/training/recipe.hpp>
#include <merganser/training/training_loop.hpp>

using namespace merganser;

void trained_further(const char* directory, const char* text, const char* saved) {
  using Model = models::EncoderDecoder<float>;
  Model model = io::load_model<float>(directory);
  const auto corpus = data::TextCorpus::read(text);
  const data::TrainingWindows windows(64, 16, 32);
  Rng rng(1);
  training::Trainer<Model> trainer(model, training::trainer_config(training::Recipe(), model, 1000, 1));
  training::train_to(1000, trainer, [&] {
    return windows([&](Index bytes, Rng& r) { return data::TextTaskMaker()(corpus.random_window(bytes, r), r); }, rng);
  });
  io::save_model(model, saved);
}
