// Beam search: the most probable sequences that a narrow search finds.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/check_logits.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/types.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/generation.hpp>
#include <merganser/models/sampling.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// When the search for a sequence stops, once it has as many ended hypotheses as beams. Names in Hugging Face
/// transformers in brackets.
enum class EarlyStopping {
  when_full,        ///< at once (True)
  when_unlikely,    ///< when no running beam would enter if it ended as long as it is (False, the default there)
  when_impossible,  ///< when no running beam can enter, however long it grows ("never")
};

struct BeamSearchOptions {
  static constexpr Index most_beams = 1024;

  /// Tokens a sequence may reach, the start id included; at most `longest_sequence`. Memory is taken as they come.
  Index max_length = 256;
  /// Sequences that are followed at a time, and most that are returned; at most `most_beams`. 1 is greedy generation.
  Index beams = 4;
  double length_penalty = 1.0;  ///< p in score = log probability / length^p: above 0 favours long sequences
  EarlyStopping early_stopping = EarlyStopping::when_unlikely;
  Vector<TokenId> ends = {};  ///< each of them ends a sequence; the model's end id if there is none

  /// @throws std::invalid_argument naming `function` if a number is out of its range
  void check(std::string_view function) const {
    detail::check_max_length(function, max_length);
    check_argument(beams >= 1, function, "beams", beams, "at least 1");
    check_argument(beams <= most_beams, function, "beams", beams, "at most " + std::to_string(most_beams));
    check_argument(std::isfinite(length_penalty), function, "length_penalty", length_penalty, "a finite number");
  }
};

/// One sequence that was found.
struct Hypothesis {
  Vector<TokenId> ids;           ///< start id first; the end id last unless cut at max_length
  double log_probability = 0.0;  ///< of all tokens behind the start id, the end id included
  double score = 0.0;            ///< log_probability / (tokens behind the start id)^length_penalty
};

/// What was found for N source sequences.
template <Real Scalar>
struct BeamSearchResult {
  Vector<Vector<Hypothesis>> hypotheses;  ///< [N] lists of 1 to `beams`, the best score first
  EncoderOutput<Scalar> encoded;          ///< what the encoder kept

  /// The best hypothesis of each source sequence.
  TokenBatch best() const {
    TokenBatch batch;
    for (const Vector<Hypothesis>& found : hypotheses) batch.push_back(found.front().ids);
    return batch;
  }
};

/// The search for one sequence, apart from the model that it searches.
///
/// Beams are kept by log probability, ended hypotheses by score. Of equal beams the one from the lower beam, then the
/// larger logit, then the lower id comes first; of equal hypotheses the one that ended first.
template <Real Scalar>
class BeamSearch {
 public:
  struct Beam {
    Vector<TokenId> ids;
    double log_probability = 0.0;
  };

  /// `end` is the model's end id.
  /// @throws std::invalid_argument if an option is out of its range
  BeamSearch(const BeamSearchOptions& options, TokenId start, TokenId end)
      : options_(options), running_{{{start}, 0.0}} {
    if (options_.ends.empty()) options_.ends = {end};
    options.check("BeamSearch");
    if (options.max_length == 1) end_search();
  }

  /// The beams that want a next token, the most probable first; none when the search has ended.
  const Vector<Beam>& running() const { return running_; }

  /// Ended hypotheses, the best score first.
  const Vector<Hypothesis>& ended() const { return ended_; }

  /// One step: row b of the logits [beams x V] is for running beam b. Returns for each beam that now runs the number of
  /// the one that it continues.
  /// @throws std::invalid_argument if the rows are not as many as the beams, or empty
  Vector<Index> advance(const MatrixRef<Scalar>& logits) {
    check_equal("BeamSearch::advance", "logits.rows()", logits.rows(), running_.size());
    Vector<Beam> next;
    Vector<Index> parents;
    const Vector<Candidate> candidates = best_candidates(logits);
    for (Index rank = 0; rank < candidates.size(); ++rank) {
      const Candidate& candidate = candidates[rank];
      Beam beam{running_[candidate.beam].ids, candidate.log_probability};
      beam.ids.push_back(candidate.id);
      if (std::find(options_.ends.begin(), options_.ends.end(), candidate.id) != options_.ends.end()) {
        if (rank < options_.beams) add_ended(std::move(beam));
      } else if (next.size() < options_.beams) {
        next.push_back(std::move(beam));
        parents.push_back(candidate.beam);
      }
    }
    running_ = std::move(next);
    if (is_over()) parents.clear();
    return parents;
  }

 private:
  struct Candidate {
    double log_probability;
    Index beam;
    Scalar logit;
    TokenId id;
  };

  static bool before(const Candidate& a, const Candidate& b) {
    if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
    if (a.beam != b.beam) return a.beam < b.beam;
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  }

  /// As many go on as there are beams even if every beam ends in every way: with one end id, twice as many as beams.
  Vector<Candidate> best_candidates(const MatrixRef<Scalar>& logits) const {
    Vector<Candidate> candidates;
    for (Index beam = 0; beam < logits.rows(); ++beam) {
      const LogitRow<Scalar> row = logits.row(beam);
      const Vector<double> more = log_probabilities<Scalar>(row);
      const double so_far = running_[beam].log_probability;
      for (Index id = 0; id < more.size(); ++id) {
        const Scalar logit = row[id];
        candidates.push_back({so_far + more[id], beam,
                              std::isnan(logit) ? -std::numeric_limits<Scalar>::infinity() : logit,
                              static_cast<TokenId>(id)});
      }
      detail::keep_first(candidates, (1 + options_.ends.size()) * options_.beams, before);
    }
    return candidates;
  }

  double score(double log_probability, Index length) const {
    return length == 0 ? 0.0 : log_probability / std::pow(static_cast<double>(length), options_.length_penalty);
  }

  void add_ended(Beam beam) {
    const double reached = score(beam.log_probability, beam.ids.size() - 1);
    const auto place = std::upper_bound(ended_.begin(), ended_.end(), reached,
                                        [](double value, const Hypothesis& other) { return value > other.score; });
    ended_.insert(place, Hypothesis{std::move(beam.ids), beam.log_probability, reached});
    if (ended_.size() > options_.beams) ended_.pop_back();
  }

  /// Whether nothing runs on; ends what does not.
  bool is_over() {
    if (!running_.empty() && running_.front().ids.size() == options_.max_length) end_search();
    if (!running_.empty() && can_stop()) running_.clear();
    return running_.empty();
  }

  void end_search() {
    for (Beam& beam : running_) add_ended(std::move(beam));
    running_.clear();
  }

  bool can_stop() const {
    if (ended_.size() < options_.beams) return false;
    // A single beam that ends has ended: its second choice is not followed, as in greedy generation.
    if (options_.beams == 1 || options_.early_stopping == EarlyStopping::when_full) return true;
    const Beam& best = running_.front();
    // log_probability is negative and only falls, so that a length that divides it by more gives the better score.
    const bool longest = options_.early_stopping == EarlyStopping::when_impossible && options_.length_penalty > 0;
    const Index length = (longest ? options_.max_length : best.ids.size()) - 1;
    return ended_.back().score >= score(best.log_probability, length);
  }

  BeamSearchOptions options_;
  Vector<Beam> running_;
  Vector<Hypothesis> ended_;
};

/// Searches the best target sequences for each of N sequences that an encoder has read, as Hugging Face transformers
/// does. The encoder is the model's, with any policy, or one from elsewhere whose rows have the model's width.
///
/// A step runs all beams of all sequences whose search goes on; the beams of one sequence share its encoder rows and
/// their projections. Results do not depend on the batch (but for random gates) nor on the number of threads.
/// @throws std::invalid_argument if an option is out of its range or the model's logits are no numbers
template <Real Scalar, std::same_as<EncoderOutput<Scalar>> Encoded>
BeamSearchResult<Scalar> beam_search(const EncoderDecoder<Scalar>& model, Encoded encoded,
                                     const BeamSearchOptions& options = {}) {
  options.check("beam_search");
  BeamSearchResult<Scalar> result;
  result.encoded = std::move(encoded);
  Vector<BeamSearch<Scalar>> searches(result.encoded.hidden.count(),
                                      BeamSearch<Scalar>(options, model.config().start, model.config().end));
  DecoderState<Scalar> state = model.decoder.start(result.encoded, options.max_length);
  for (;;) {
    Vector<TokenId> last;  // of all running beams, in the order of the state
    for (const BeamSearch<Scalar>& search : searches)
      for (const auto& beam : search.running()) last.push_back(beam.ids.back());
    if (last.empty()) break;
    const Matrix<Scalar> logits = model.head(model.decoder.step(model.shared.forward(last), state));
    check_logits<Scalar>("beam_search", logits);
    Vector<Index> chosen;
    Index row = 0;
    for (BeamSearch<Scalar>& search : searches) {
      const Index count = search.running().size();
      if (count == 0) continue;
      for (const Index parent : search.advance(logits.middleRows(row, count))) chosen.push_back(row + parent);
      row += count;
    }
    state.select(chosen);
  }
  for (const BeamSearch<Scalar>& search : searches) result.hypotheses.push_back(search.ended());
  return result;
}

/// The same for N source sequences, which the model's encoder reads.
template <Real Scalar>
BeamSearchResult<Scalar> beam_search(const EncoderDecoder<Scalar>& model, const TokenBatch& source,
                                     const BeamSearchOptions& options = {},
                                     const typename EncoderDecoder<Scalar>::ForwardOptions& forward_options = {}) {
  options.check("beam_search");
  return beam_search(model, model.encode(source, forward_options), options);
}

#if MERGANSER_COMPILED
extern template BeamSearchResult<float> beam_search<float, EncoderOutput<float>>(const EncoderDecoder<float>&,
                                                                                 EncoderOutput<float>,
                                                                                 const BeamSearchOptions&);
extern template BeamSearchResult<float> beam_search<float>(const EncoderDecoder<float>&, const TokenBatch&,
                                                           const BeamSearchOptions&,
                                                           const EncoderDecoder<float>::ForwardOptions&);
#endif

}  // namespace merganser::models
