#include <merganser/models/beam_search.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <merganser/models/generation.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"

namespace beam_search_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using merge::DeletionMode;

using Ids = Vector<TokenId>;
using NextLogits = std::function<RowVector<double>(const Ids&)>;

constexpr TokenId start = 0, end = 1;
constexpr EarlyStopping all_kinds[] = {EarlyStopping::when_full, EarlyStopping::when_unlikely,
                                       EarlyStopping::when_impossible};

Vector<Hypothesis> search(const BeamSearchOptions& options, const NextLogits& next) {
  BeamSearch<double> beams(options, start, end);
  while (!beams.running().empty()) {
    Vector<RowVector<double>> rows;
    for (const auto& beam : beams.running()) rows.push_back(next(beam.ids));
    Matrix<double> logits(rows.size(), rows.front().size());
    for (Index b = 0; b < rows.size(); ++b) logits.row(b) = rows[b];
    const auto before = beams.running();
    const Vector<Index> parents = beams.advance(logits);
    REQUIRE(parents.size() == beams.running().size());
    REQUIRE(parents.size() <= options.beams);
    for (Index b = 0; b < parents.size(); ++b) {
      const Ids& child = beams.running()[b].ids;
      REQUIRE(Ids(child.begin(), child.end() - 1) == before[parents[b]].ids);
    }
  }
  return beams.ended();
}

double score_of(double log_probability, Index tokens, double penalty) {
  return log_probability / std::pow(static_cast<double>(tokens), penalty);
}

/// Every sequence there is, the best score first.
Vector<Hypothesis> all_sequences(const BeamSearchOptions& options, const NextLogits& next) {
  Vector<Hypothesis> found;
  const std::function<void(const Ids&, double)> grow = [&](const Ids& ids, double log_probability) {
    if (ids.size() == options.max_length || ids.back() == end) {
      found.push_back({ids, log_probability, score_of(log_probability, ids.size() - 1, options.length_penalty)});
      return;
    }
    const RowVector<double> logits = next(ids);
    const double total = std::log(logits.array().exp().sum());
    for (Index id = 0; id < logits.size(); ++id) {
      Ids longer = ids;
      longer.push_back(static_cast<TokenId>(id));
      grow(longer, log_probability + logits[id] - total);
    }
  };
  grow({start}, 0);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  return found;
}

/// Logits that depend on the whole sequence so far.
NextLogits random_logits(Index vocabulary, std::uint64_t seed) {
  return [vocabulary, seed](const Ids& ids) {
    std::uint64_t number = seed;
    for (const TokenId id : ids) number = Rng(number * 31 + static_cast<std::uint64_t>(id)).next();
    Rng rng(number);
    RowVector<double> logits(vocabulary);
    for (Index id = 0; id < vocabulary; ++id) logits[id] = 1.5 * rng.normal();
    return logits;
  };
}

void require_same(const Vector<Hypothesis>& got, const Vector<Hypothesis>& expected, double tolerance) {
  REQUIRE(got.size() == expected.size());
  for (Index i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    REQUIRE(got[i].ids == expected[i].ids);
    REQUIRE_THAT(got[i].log_probability, WithinAbs(expected[i].log_probability, tolerance));
    REQUIRE_THAT(got[i].score, WithinAbs(expected[i].score, tolerance));
  }
}

/// A table of next-token probabilities for the tokens 1 (the end), 2 and 3; 0 is all but impossible.
NextLogits table(const std::map<Ids, Vector<double>>& rows) {
  return [rows](const Ids& ids) {
    const auto row = rows.find(ids);
    const Vector<double> p = row == rows.end() ? Vector<double>{0.02, 0.49, 0.49} : row->second;
    RowVector<double> logits(4);
    logits << -60.0, std::log(p[0]), std::log(p[1]), std::log(p[2]);
    return logits;
  };
}

template <Real Scalar>
EncoderDecoder<Scalar> model_of(std::uint64_t seed, Index vocabulary = 11) {
  Design<EncoderDecoder<Scalar>> config;
  config.vocabulary = vocabulary;
  config.encoder = tiny_stack();
  config.gates.push_back(gate_at(1));
  config.decoder_blocks = 2;
  EncoderDecoder<Scalar> model = config.make();
  fill_model(model, seed);
  return model;
}

const Vector<Index> lengths{3, 1, 5, 0};

Vector<Ids> ids_of(const Vector<Hypothesis>& found) {
  Vector<Ids> ids;
  for (const Hypothesis& hypothesis : found) ids.push_back(hypothesis.ids);
  return ids;
}

bool same_bits(const Vector<Hypothesis>& a, const Vector<Hypothesis>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Hypothesis& x, const Hypothesis& y) {
    return x.ids == y.ids && x.log_probability == y.log_probability && x.score == y.score;
  });
}

TEST_CASE("enough beams find the best of all sequences", "[beam_search]") {
  for (const double penalty : {0.0, 0.6, 1.0, 2.5, -1.0})
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      const NextLogits next = random_logits(4, seed);
      BeamSearchOptions options;
      options.max_length = 6;
      options.length_penalty = penalty;
      options.beams = 600;  // more than there are sequences
      Vector<Hypothesis> expected = all_sequences(options, next);
      REQUIRE(expected.size() < 600);
      require_same(search(options, next), expected, 1e-12);
      // Not enough for all, but for every one that is cut: only what has ended is thrown away.
      options.beams = 300;
      options.early_stopping = EarlyStopping::when_impossible;
      expected.resize(std::min<Index>(expected.size(), 300));
      require_same(search(options, next), expected, 1e-12);
    }
}

TEST_CASE("narrow beams return true scores, in order, each sequence once", "[beam_search]") {
  for (const EarlyStopping stopping : all_kinds)
    for (const Index beams : {1, 2, 3, 7})
      for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        const NextLogits next = random_logits(5, seed);
        const BeamSearchOptions options{6, beams, 0.8, stopping};
        std::map<Ids, Hypothesis> all;
        for (const Hypothesis& hypothesis : all_sequences(options, next)) all[hypothesis.ids] = hypothesis;
        const Vector<Hypothesis> found = search(options, next);
        REQUIRE(found.size() == beams);
        std::set<Ids> different;
        for (Index i = 0; i < found.size(); ++i) {
          REQUIRE(all.contains(found[i].ids));
          require_same({found[i]}, {all[found[i].ids]}, 1e-12);
          REQUIRE((i == 0 || found[i].score <= found[i - 1].score));
          different.insert(found[i].ids);
        }
        REQUIRE(std::ssize(different) == found.size());
      }
}

TEST_CASE("the three ways to stop early", "[beam_search]") {
  BeamSearchOptions options{10, 2, 1.0, EarlyStopping::when_full};
  const auto found = [&](EarlyStopping stopping, const NextLogits& next) {
    options.early_stopping = stopping;
    return ids_of(search(options, next));
  };
  // At length 2 the ended ones score log(0.225) / 2 and log(0.4); the beam 2 2 has log(0.245) / 2, which is better.
  const NextLogits rival = table({{{0}, {0.4, 0.35, 0.25}},
                                  {{0, 2}, {0.2, 0.7, 0.1}},
                                  {{0, 3}, {0.9, 0.05, 0.05}},
                                  {{0, 2, 2}, {0.9, 0.06, 0.04}}});
  REQUIRE(found(EarlyStopping::when_full, rival) == Vector<Ids>{{0, 3, 1}, {0, 1}});
  REQUIRE(found(EarlyStopping::when_unlikely, rival) == Vector<Ids>{{0, 2, 2, 1}, {0, 3, 1}});
  // Here it has log(0.105) / 2, worse than log(0.175) / 2; but longer it would be better, and at length 3 it is.
  const NextLogits slow = table({{{0}, {0.4, 0.35, 0.25}},
                                 {{0, 2}, {0.5, 0.3, 0.2}},
                                 {{0, 3}, {0.9, 0.05, 0.05}},
                                 {{0, 2, 2}, {0.99, 0.006, 0.004}}});
  REQUIRE(found(EarlyStopping::when_full, slow) == Vector<Ids>{{0, 3, 1}, {0, 2, 1}});
  REQUIRE(found(EarlyStopping::when_unlikely, slow) == Vector<Ids>{{0, 3, 1}, {0, 2, 1}});
  REQUIRE(found(EarlyStopping::when_impossible, slow) == Vector<Ids>{{0, 3, 1}, {0, 2, 2, 1}});
  // Without a length penalty nothing gets better by growing.
  options.length_penalty = 0;
  REQUIRE(found(EarlyStopping::when_impossible, slow) == Vector<Ids>{{0, 1}, {0, 3, 1}});
}

TEST_CASE("an end id that is not among the best `beams` candidates ends nothing", "[beam_search]") {
  // After 2 the end is third, behind 2 2 and 2 3: with one beam, and with two, it is passed over.
  const NextLogits next = table({{{0}, {1e-9, 1.0, 1e-9}}, {{0, 2}, {0.2, 0.5, 0.3}}});
  for (const Index beams : {1, 2})
    for (const Hypothesis& hypothesis : search({5, beams, 1.0, EarlyStopping::when_full}, next))
      REQUIRE(hypothesis.ids != Ids{0, 2, 1});
  bool seen = false;
  for (const Hypothesis& hypothesis : search({3, 3, 1.0, EarlyStopping::when_impossible}, next))
    seen = seen || hypothesis.ids == Ids{0, 2, 1};
  REQUIRE(seen);
}

TEST_CASE("of equals what ended first comes first, then the lower id of the lower beam", "[beam_search]") {
  const NextLogits flat = [](const Ids&) { return RowVector<double>(RowVector<double>::Zero(4)); };
  REQUIRE(ids_of(search({3, 3, 1.0, EarlyStopping::when_unlikely}, flat)) == Vector<Ids>{{0, 1}, {0, 0, 1}, {0, 0, 0}});
  // Logits that differ by less than the sum of their exponentials can tell: greedy choice sees it, and so does a beam.
  const NextLogits close = [](const Ids&) {
    RowVector<double> logits = RowVector<double>::Zero(4);
    logits[2] = 1e-30;
    return logits;
  };
  REQUIRE(ids_of(search({3, 1, 1.0, EarlyStopping::when_unlikely}, close)) == Vector<Ids>{{0, 2, 2}});
}

TEST_CASE("logits that are no numbers, or a single id, come to an end", "[beam_search]") {
  const double bad = std::numeric_limits<double>::quiet_NaN();
  const NextLogits nothing = [&](const Ids&) { return RowVector<double>(RowVector<double>::Constant(3, bad)); };
  const Vector<Hypothesis> found = search({4, 2, 1.0, EarlyStopping::when_impossible}, nothing);
  REQUIRE(found.size() == 2);
  REQUIRE(found.front().log_probability < -1e300);
  const NextLogits only_start = [](const Ids&) { return RowVector<double>(RowVector<double>::Zero(1)); };
  REQUIRE(ids_of(search({4, 3, 1.0, EarlyStopping::when_full}, only_start)) == Vector<Ids>{{0, 0, 0, 0}});
  REQUIRE(ids_of(search({1, 3, 1.0, EarlyStopping::when_full}, only_start)) == Vector<Ids>{{0}});
}

TEMPLATE_TEST_CASE("one beam is greedy generation", "[beam_search]", float, double) {
  const Threads one(1);
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const EncoderDecoder<TestType> model = model_of<TestType>(seed);
    const TokenBatch source = random_tokens(lengths, 11, seed);
    GenerationOptions greedy;
    greedy.max_length = 12;
    const TokenBatch expected = generate(model, source, greedy).ids;
    for (const EarlyStopping stopping : all_kinds)
      for (const double penalty : {-1.0, 0.0, 1.0, 3.0})
        REQUIRE(beam_search(model, source, {12, 1, penalty, stopping}).best() == expected);
  }
}

TEMPLATE_TEST_CASE("a beam search of a batch is, in bits, that of its sequences, with any number of threads",
                   "[beam_search]", float, double) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const EncoderDecoder<TestType> model = model_of<TestType>(seed);
    const TokenBatch source = random_tokens(lengths, 11, seed);
    typename EncoderDecoder<TestType>::ForwardOptions forward;
    forward.deletion = deletion(seed % 2 == 0 ? DeletionMode::hard : DeletionMode::soft);
    const BeamSearchOptions options{9, 3, 0.7, EarlyStopping::when_impossible};
    Vector<BeamSearchResult<TestType>> batches;
    for (const int count : {1, 2}) {
      const Threads threads(count);
      batches.push_back(beam_search(model, source, options, forward));
    }
    for (Index i = 0; i < 4; ++i) {
      REQUIRE(same_bits(batches[0].hypotheses[i], batches[1].hypotheses[i]));
      const auto single = beam_search(model, alone(source, i), options, forward);
      REQUIRE(same_bits(batches[0].hypotheses[i], single.hypotheses.at(0)));
    }
    REQUIRE(batches[0].encoded.hidden.count() == 4);
  }
}

TEST_CASE("with the key/value cache the search is the one by whole passes", "[beam_search]") {
  const Threads one(1);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const EncoderDecoder<double> model = model_of<double>(seed, 5);
    const TokenBatch source = random_tokens(lengths, 5, seed);
    const EncoderDecoder<double>::ForwardOptions forward;
    for (Index i = 0; i < 4; ++i) {
      const EncoderOutput<double> encoded = model.encode(alone(source, i), forward);
      const NextLogits next = [&](const Ids& ids) {
        TokenBatch input;
        input.push_back(ids);
        return RowVector<double>(model.decode(input, encoded).bottomRows(1));
      };
      for (const Index beams : {2, 5}) {
        const BeamSearchOptions options{7, beams, 1.0, EarlyStopping::when_impossible};
        require_same(beam_search(model, alone(source, i), options, forward).hypotheses.at(0), search(options, next),
                     1e-9);
      }
      const BeamSearchOptions wide{5, 400, 1.0, EarlyStopping::when_impossible};
      require_same(beam_search(model, alone(source, i), wide, forward).hypotheses.at(0), all_sequences(wide, next),
                   1e-9);
    }
  }
}

TEST_CASE("each of several ids can end a hypothesis, and as many beams go on as before", "[beam_search]") {
  // Ids 1, 2 and 3 end, and are better than 4 and 5 everywhere.
  BeamSearch<double> beams({4, 2, 1.0, EarlyStopping::when_impossible, {1, 2, 3}}, start, end);
  Matrix<double> first(1, 6);
  first << -9, 3, 2.9, 2.8, 1, 0.9;
  beams.advance(first);
  REQUIRE(beams.ended().size() == 2);
  REQUIRE(beams.ended()[0].ids == Ids{0, 1});
  REQUIRE(beams.ended()[1].ids == Ids{0, 2});
  REQUIRE(beams.running().size() == 2);
  REQUIRE(beams.running()[0].ids == Ids{0, 4});
  REQUIRE(beams.running()[1].ids == Ids{0, 5});
}

TEST_CASE("nothing to search, and what does not fit", "[beam_search]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  REQUIRE(beam_search(model, {}).hypotheses.empty());
  const auto shortest = beam_search(model, random_tokens({2, 0}, 11, 1), {1, 4, 1.0, EarlyStopping::when_full});
  REQUIRE(shortest.best().ids == Ids{0, 0});
  REQUIRE(shortest.hypotheses[0].size() == 1);
  REQUIRE(shortest.hypotheses[0][0].score == 0);
  const auto error = [&](const BeamSearchOptions& options) {
    return argument_error([&] { beam_search(model, {}, options); });
  };
  REQUIRE(error({0, 4, 1.0, {}}) == "beam_search: max_length: got 0, expected at least 1");
  REQUIRE(error({5, 0, 1.0, {}}) == "beam_search: beams: got 0, expected at least 1");
  REQUIRE(error({5, 1'000'000, 1.0, {}}) == "beam_search: beams: got 1000000, expected at most 1024");
  REQUIRE(error({Index{1} << 40, 4, 1.0, {}}).ends_with("expected at most 2147483647"));
  REQUIRE(error({5, 4, std::nan(""), {}}).ends_with("expected a finite number"));
  BeamSearch<float> one({5, 4, 1.0, {}}, start, end);
  REQUIRE(argument_error([&] { one.advance(Matrix<float>::Zero(2, 3)); }) ==
          "BeamSearch::advance: logits.rows(): got 2, expected 1");
}

}  // namespace beam_search_test
