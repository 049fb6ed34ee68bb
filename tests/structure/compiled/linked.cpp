// Everything that is in merganser::compiled is used by a unit that only declares it.
//   compiled DIRECTORY NEW_DIRECTORY
#include <cmath>
#include <vector>

#include <merganser/io/models/model_directory.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/models/beam_search.hpp>
#include <merganser/models/generation.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include <merganser/training/trainer.hpp>

#include "level.hpp"

#if !MERGANSER_COMPILED
#error a unit with the flags of the project should find what merganser::compiled has
#endif

using namespace merganser;

double sum_by_other_unit(const char* directory, const std::vector<int>& ids);
double sum_by_plugin(const char* directory, const std::vector<int>& ids);

int main(int, char** arguments) {
  using Model = models::EncoderDecoder<float>;
  const std::vector<TokenId> ids{10, 11, 12, 13, 1};
  TokenBatch batch;
  batch.push_back(ids);
  const auto sum_of = [&](const Model& model) { return model.encode(batch).hidden.values.cast<double>().sum(); };

  Model model = io::load_model<float>(arguments[1]);
  const double sum = sum_of(model);
  bool right = sum != 0;
  right = right && sum_of(io::load_for_inference<float>(arguments[1])) == sum;
  right = right && sum_of(io::load_for_inference<float>(io::open_model_files(arguments[1]))) == sum;
  right = right && sum_by_plugin(arguments[1], ids) == sum && own_instantiations() == 1;
#if defined(HAS_OTHER)
  right = right && std::abs(sum_by_other_unit(arguments[1], ids) - sum) < 1e-3;
#endif
  models::GenerationOptions options;
  options.max_length = 3;
  right = right && models::generate(model, batch, options).ids.count() == 1;
  right = right && models::beam_search(model, batch, {}).best().count() == 1;
  io::save_model(model, arguments[2]);
  right = right && sum_of(io::load_model<float>(io::open_model_files(arguments[2]))) == sum;

  training::Trainer<Model> trainer(model, {});
  right = right && std::isfinite(trainer.step({batch, batch}).total) && sum_of(model) != sum;

  const models::SequenceClassifier<float>::Config config{.vocabulary = 20, .encoder = {.blocks = 1}};
  const models::SequenceClassifier<float> classifier(
      config, {merge::before_block(0, merge::DeleteGate<float>({.width = config.encoder.width}))});
  right = right && classifier.forward(batch).logits.cols() == 2;
  return right ? 0 : 1;
}
