// byte_demo generate: what a model answers, byte for byte.
#include <iostream>

#include <merganser/core/random.hpp>
#include <merganser/data/byte_tokenizer.hpp>

#include <answer.hpp>
#include <options.hpp>
#include <terminal.hpp>

namespace byte_demo {

std::string answer(const Model& model, const std::string& text, const models::GenerationOptions& options,
                   const merge::DeletionOptions& deletion) {
  const merganser::data::ByteTokenizer tokenizer;
  merganser::TokenBatch source;
  source.push_back(tokenizer.encode(text));
  merganser::Rng rng(options.seed);
  Model::ForwardOptions forward;
  forward.deletion = deletion;
  forward.rng = &rng;
  return tokenizer.decode(models::generate(model, source, options, forward).ids.sequence(0));
}

void generate(const GenerateOptions& options) {
  use_threads(options.threads);
  const Model model = load_model(options.model);
  models::GenerationOptions generation;
  generation.max_length = options.max_length;
  generation.sampling.top_k = options.top_k;
  generation.seed = options.seed;
  if (options.temperature) {
    generation.sampling.method = models::Sampling::random;
    generation.sampling.temperature = *options.temperature;
  }
  std::cout << answer(model, options.text, generation, deletion_options(options.rate));
  if (is_terminal(STDOUT_FILENO)) std::cout << "\n";
}

}  // namespace byte_demo
