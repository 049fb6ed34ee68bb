// Generating target sequences, token by token.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::models {

/// How the next token is chosen.
enum class Sampling {
  greedy,       ///< the most probable token; of equals the lowest id
  temperature,  ///< drawn from softmax(logits / temperature), among the `top_k` best if that is not 0
};

struct GenerationOptions {
  Index max_length = 256;  ///< tokens a sequence may reach, the start id included
  Sampling sampling = Sampling::greedy;
  double temperature = 1.0;  ///< positive; low is cautious
  Index top_k = 0;           ///< 0: all tokens
  std::uint64_t seed = 0;    ///< of the draws
};

/// Generated sequences.
template <Real Scalar>
struct Generation {
  TokenBatch ids;                           ///< N sequences, start id first, end id last unless cut at max_length
  std::vector<Matrix<Scalar>> step_logits;  ///< one [N x V] a step
  EncoderOutput<Scalar> encoded;            ///< what the encoder kept
};

/// Picks one token of a row of logits.
template <Real Scalar>
TokenId choose_token(const Eigen::Ref<const RowVector<Scalar>>& logits, const GenerationOptions& options, Rng& rng) {
  Index best = 0;
  logits.maxCoeff(&best);
  if (options.sampling == Sampling::greedy) return static_cast<TokenId>(best);
  std::vector<Index> candidates(static_cast<std::size_t>(logits.size()));
  std::iota(candidates.begin(), candidates.end(), Index{0});
  if (options.top_k > 0 && options.top_k < logits.size()) {
    std::stable_sort(candidates.begin(), candidates.end(), [&](Index a, Index b) { return logits[a] > logits[b]; });
    candidates.resize(static_cast<std::size_t>(options.top_k));
  }
  std::vector<double> cumulative;
  double total = 0;
  for (const Index candidate : candidates) {
    total += std::exp(static_cast<double>(logits[candidate] - logits[best]) / options.temperature);
    cumulative.push_back(total);
  }
  const double draw = rng.uniform() * total;
  const auto at = std::upper_bound(cumulative.begin(), cumulative.end(), draw) - cumulative.begin();
  return static_cast<TokenId>(candidates[std::min(static_cast<std::size_t>(at), candidates.size() - 1)]);
}

/// Generates one target for each of N source sequences. Cost of a step grows with the tokens so far and the survivors.
/// @throws std::invalid_argument if max_length is below 1 or the temperature not positive
template <Real Scalar>
Generation<Scalar> generate(const EncoderDecoder<Scalar>& model, const TokenBatch& source,
                            const GenerationOptions& options = {},
                            const typename EncoderDecoder<Scalar>::ForwardOptions& forward_options = {}) {
  check_argument(options.max_length >= 1, "generate", "max_length", options.max_length, "at least 1");
  check_argument(options.temperature > 0, "generate", "temperature", options.temperature, "a positive number");
  Rng rng(options.seed);
  Generation<Scalar> result;
  result.encoded = model.encode(source, forward_options);
  const auto& config = model.config();
  const auto count = static_cast<std::size_t>(source.count());
  std::vector<std::vector<TokenId>> sequences(count, {config.start});
  std::vector<TokenId> last(count, config.start);
  std::vector<bool> finished(count, false);
  DecoderState<Scalar> state = model.decoder.start(result.encoded, options.max_length);
  for (Index length = 1; length < options.max_length; ++length) {
    if (std::all_of(finished.begin(), finished.end(), [](bool f) { return f; })) break;
    result.step_logits.push_back(model.head(model.decoder.step(model.shared.forward(last), state)));
    for (std::size_t n = 0; n < count; ++n) {
      if (finished[n]) {
        last[n] = config.pad;
        continue;
      }
      last[n] = choose_token<Scalar>(result.step_logits.back().row(static_cast<Index>(n)), options, rng);
      sequences[n].push_back(last[n]);
      finished[n] = last[n] == config.end;
    }
  }
  result.ids = TokenBatch::from_sequences(sequences);
  return result;
}

}  // namespace merganser::models
