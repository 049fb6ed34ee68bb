// Generating target sequences, token by token.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <merganser/core/check.hpp>
#include <merganser/core/check_logits.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sampling.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// Is called with the number of a sequence of the batch and the ids that it has just gained; `no` ends that sequence
/// behind them. Comes from the thread that called `generate`, for the running sequences in rising order.
using TokenCallback = std::function<Continue(Index sequence, std::span<const TokenId> ids)>;

/// Whether the logits of every step are handed out: N V numbers a token.
enum class StepLogits { dropped, kept };

/// Why a sequence ends.
enum class Ending {
  end_id,      ///< the model wrote the end id, which is the last one
  max_length,  ///< it was cut
  callback,    ///< the callback wanted no more
};

/// The most tokens that a sequence may be allowed to reach: positions have no number beyond.
inline constexpr Index longest_sequence = std::numeric_limits<Position>::max();

struct GenerationOptions {
  /// Tokens a sequence may reach, the start id included; at most `longest_sequence`. Memory is taken as they come.
  Index max_length = 256;
  SamplingOptions sampling;
  std::uint64_t seed = 0;  ///< of the draws
  /// Sequence i draws from stream `first_stream + i` of the seed, so that a batch can be cut without changing a token.
  std::uint64_t first_stream = 0;
  TokenCallback on_tokens = {};  ///< may be empty
  StepLogits step_logits = StepLogits::dropped;
  Vector<TokenId> ends = {};  ///< each of them ends a sequence; the model's end id if there is none
};

/// Generated sequences.
template <Real Scalar>
struct Generation {
  TokenBatch ids;          ///< N sequences, start id first
  Vector<Ending> endings;  ///< [N]
  /// If kept, one [N x V] a step: row i is what token step + 1 of sequence i was chosen from, and 0 once it has ended.
  Vector<Matrix<Scalar>> step_logits;
  EncoderOutput<Scalar> encoded;  ///< what the encoder kept
};

namespace detail {

inline void check_max_length(std::string_view function, Index max_length) {
  check_argument(max_length >= 1, function, "max_length", max_length, "at least 1");
  if (max_length > longest_sequence)
    throw_invalid_argument(function, "max_length", max_length, "at most " + std::to_string(longest_sequence));
}

/// The random numbers of each of the sequences.
inline Vector<Rng> sampling_streams(const GenerationOptions& options, Index count) {
  Vector<Rng> streams;
  for (std::uint64_t stream = options.first_stream; streams.size() < count; ++stream)
    streams.push_back(sampling_stream(options.seed, stream));
  return streams;
}

/// Rows of the running sequences as rows of all `count` of them; 0 where one has ended.
template <Real Scalar>
Matrix<Scalar> spread(const Matrix<Scalar>& rows, const Vector<Index>& running, Index count) {
  Matrix<Scalar> all = Matrix<Scalar>::Zero(count, rows.cols());
  for (Index row = 0; row < running.size(); ++row) all.row(running[row]) = rows.row(row);
  return all;
}

/// How a sequence ends with this token, of which the callback hears in any case; nothing if it goes on.
inline std::optional<Ending> ending_with(TokenId id, Index sequence, const Vector<TokenId>& ends,
                                         const GenerationOptions& options) {
  const Continue wanted = options.on_tokens ? options.on_tokens(sequence, {&id, 1}) : Continue::yes;
  if (std::find(ends.begin(), ends.end(), id) != ends.end()) return Ending::end_id;
  return wanted == Continue::no ? std::optional(Ending::callback) : std::nullopt;
}

}  // namespace detail

/// Generates one target for each of N sequences that an encoder has read: the model's, with any policy, or one from
/// elsewhere whose rows have the model's width.
///
/// A sequence that has ended leaves the batch. The cost of a step grows with the running sequences, their tokens so far
/// and the survivors of their sources. A sequence has the same bits alone and in any batch (given its stream; a random
/// gate draws for the whole batch), with any number of threads.
/// @throws std::invalid_argument if max_length or a sampling option is out of its range, or the model's logits are no
/// numbers; what the callback throws
template <Real Scalar, std::same_as<EncoderOutput<Scalar>> Encoded>
Generation<Scalar> generate(const EncoderDecoder<Scalar>& model, Encoded encoded,
                            const GenerationOptions& options = {}) {
  detail::check_max_length("generate", options.max_length);
  const Vector<TokenId> ends = options.ends.empty() ? Vector<TokenId>{model.config().end} : options.ends;
  options.sampling.check("generate");
  Generation<Scalar> result;
  result.encoded = std::move(encoded);
  const Index count = result.encoded.hidden.count();
  result.endings.assign(count, Ending::max_length);
  Vector<Vector<TokenId>> sequences(count, {model.config().start});
  Vector<Rng> streams = detail::sampling_streams(options, count);
  Vector<Index> running(count);  // sequences of the batch, in the order of the state
  std::iota(running.begin(), running.end(), Index{0});
  Vector<TokenId> last(count, model.config().start);
  DecoderState<Scalar> state = model.decoder.start(result.encoded, options.max_length);
  for (Index length = 1; length < options.max_length && !running.empty(); ++length) {
    const Matrix<Scalar> logits = model.head(model.decoder.step(model.shared.forward(last), state));
    check_logits<Scalar>("generate", logits);
    if (options.step_logits == StepLogits::kept) result.step_logits.push_back(detail::spread(logits, running, count));
    Vector<Index> chosen, still_running;
    last.clear();
    for (Index row = 0; row < running.size(); ++row) {
      const Index n = running[row];
      const TokenId id = choose_token<Scalar>(logits.row(row), options.sampling, streams[n]);
      sequences[n].push_back(id);
      if (const std::optional<Ending> ending = detail::ending_with(id, n, ends, options)) {
        result.endings[n] = *ending;
        continue;
      }
      chosen.push_back(row);
      still_running.push_back(n);
      last.push_back(id);
    }
    if (chosen.size() < running.size()) state.select(chosen);
    running = std::move(still_running);
  }
  result.ids = TokenBatch::from_sequences(sequences);
  return result;
}

/// The same for N source sequences, which the model's encoder reads.
template <Real Scalar>
Generation<Scalar> generate(const EncoderDecoder<Scalar>& model, const TokenBatch& source,
                            const GenerationOptions& options = {},
                            const typename EncoderDecoder<Scalar>::ForwardOptions& forward_options = {}) {
  detail::check_max_length("generate", options.max_length);
  options.sampling.check("generate");
  return generate(model, model.encode(source, forward_options), options);
}

#if MERGANSER_COMPILED
extern template Generation<float> generate<float, EncoderOutput<float>>(const EncoderDecoder<float>&,
                                                                        EncoderOutput<float>, const GenerationOptions&);
extern template Generation<float> generate<float>(const EncoderDecoder<float>&, const TokenBatch&,
                                                  const GenerationOptions&,
                                                  const EncoderDecoder<float>::ForwardOptions&);
#endif

}  // namespace merganser::models
