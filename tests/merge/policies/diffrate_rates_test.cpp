#include <merganser/merge/policies/diffrate_rates.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace diffrate_rates_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Rows = Vector<Index>;

template <Real Scalar>
LearnedDiffRate<Scalar> random_rates(Importance importance = Importance::received, Index protected_rows = 0) {
  LearnedDiffRate<Scalar> layer({.candidates = 5, .importance = importance, .protected_rows = protected_rows});
  Rng rng(5);
  randomise(layer, rng, 0.7);
  layer.prune_logits[0] += 1;  // so that some are dropped,
  layer.merge_logits[4] += 2;  // and some merge
  return layer;
}

/// A batch behind attention, and a call.
struct Setup : PolicyBatch<double> {
  LearnedDiffRate<double> layer;
  DeletionOptions options;
  PolicyBatch<double> attended;  ///< what attention answers stays the same when x moves
  RowAttention<double> attention;

  explicit Setup(DeletionMode mode, Importance importance = Importance::received, Index protected_rows = 0,
                 const Rows& lengths = {7, 0, 1, 9})
      : PolicyBatch<double>(lengths, 4),
        layer(random_rates<double>(importance, protected_rows)),
        attended(*this),
        attention(attended) {
    options.mode = mode;
  }

  PolicyContext<double> context() const {
    PolicyContext<double> made = PolicyBatch<double>::context(options);
    made.attention = &attention;
    return made;
  }

  Reduction<double> run() const { return layer.forward(x, context()); }

  RateProxy prunes() const { return RateProxy(layer.prune_logits); }
  RateProxy merges() const { return RateProxy(layer.merge_logits); }

  /// The tokens of a sequence in their order of importance.
  Rows order(Index sequence) const {
    const RowRange range = state.offsets.range(sequence);
    Tokens<double> tokens{x.middleRows(range.begin, range.length), range.of(std::span(state.positions))};
    tokens.attention = &attention;
    tokens.sequence = sequence;
    return order_of_importance<double>(tokens, layer.config().importance, layer.config().protected_rows);
  }

  /// Of so many tokens the logarithm of the probability of a rank to stay.
  double score(Index n, Index rank) const {
    return std::log(prunes().token_probability(n)[rank]) + std::log(merges().token_probability(n)[rank]);
  }
};

ParameterView<double> view(const char* name, Vector<double>& list) { return {name, list.data(), 1, list.size(), true}; }

TEST_CASE("hard deletion drops and merges at the learned rates", "[LearnedDiffRate]") {
  Setup s(DeletionMode::hard);
  s.options.survivor_bias = SurvivorBias::dropped;
  const auto output = s.run();
  for (Index i = 0; i < 4; ++i) {
    const Index n = s.state.offsets.length(i), first = s.state.offsets.begin(i);
    const Index unpruned = s.prunes().kept(n), kept = std::min(unpruned, s.merges().kept(n));
    REQUIRE(output.state.offsets.length(i) == kept);
    const Rows order = s.order(i);
    for (Index rank = 0; rank < n; ++rank) {
      REQUIRE((output.report.group[first + order[rank]] < 0) == (rank >= unpruned));
      REQUIRE_THAT(output.report.scores[first + order[rank]], WithinAbs(s.score(n, rank), 1e-12));
    }
  }
  REQUIRE(s.state.offsets.length(3) > s.prunes().kept(9));  // some are dropped,
  REQUIRE(s.merges().kept(9) < s.prunes().kept(9));         // and some merge
  REQUIRE(output.state.key_bias.empty());
  REQUIRE(output.report.is_gate);
  REQUIRE(output.report.threshold == -std::numeric_limits<double>::infinity());
}

TEST_CASE("soft deletion weakens keys by the probability to stay", "[LearnedDiffRate]") {
  for (const bool aged : {false, true}) {
    Setup s(DeletionMode::soft);
    if (aged) s.age();
    const auto output = s.run();
    s.options.mode = DeletionMode::hard;
    const auto hard = s.run();
    REQUIRE(output.state.offsets == s.state.offsets);
    Index moved = 0;
    for (Index i = 0; i < 4; ++i) {
      const Index n = s.state.offsets.length(i), first = s.state.offsets.begin(i), kept = hard.state.offsets.length(i);
      const Rows order = s.order(i);
      for (Index rank = 0; rank < n; ++rank) {
        const Index token = first + order[rank];
        REQUIRE(output.state.deleted[token] == (rank < kept ? 0 : 1));
        REQUIRE(std::count(output.report.kept.begin(), output.report.kept.end(), token) == (rank < kept ? 1 : 0));
        // A row that others join is already what it is behind hard deletion.
        const Index row = rank < kept ? hard.report.group[token] : -1;
        const bool joined = row >= 0 && std::count(hard.report.group.begin(), hard.report.group.end(), row) > 1;
        if (joined) ++moved;
        REQUIRE(identical(Matrix<double>(output.x.row(token)),
                          joined ? Matrix<double>(hard.x.row(row)) : Matrix<double>(s.x.row(token))));
        REQUIRE_THAT(output.report.scores[token], WithinAbs(s.score(n, rank), 1e-12));
        if (!joined)
          REQUIRE_THAT(output.state.key_bias[token],
                       WithinAbs(s.score(n, rank) + (aged ? s.state.key_bias[token] : 0.0), 1e-12));
        if (rank < kept) REQUIRE_THAT(output.state.key_bias[token], WithinAbs(hard.state.key_bias[row], 1e-12));
        if (aged && joined) REQUIRE_THAT(output.state.sizes[token], WithinAbs(hard.state.sizes[row], 1e-12));
      }
    }
    REQUIRE(moved > 0);
  }
}

TEST_CASE("the kept share is the mean probability of both", "[LearnedDiffRate]") {
  for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard})
    for (const Index protected_rows : {0, 2}) {
      const Setup s(mode, Importance::received, protected_rows);
      const auto output = s.run();
      double sum = 0;
      for (const Index n : {7, 1, 9}) {
        const Index open = std::max<Index>(n - protected_rows, 0);
        sum += static_cast<double>(n - open);
        for (Index rank = 0; rank < open; ++rank) sum += std::exp(s.score(open, rank));
      }
      REQUIRE(output.report.auxiliaries.size() == 1);
      const Auxiliary& share = output.report.auxiliaries[0];
      REQUIRE(share.name == "kept_share");
      REQUIRE(share.steered);
      REQUIRE(share.over == MeanOver::tokens);
      REQUIRE_THAT(share.value, WithinAbs(sum / 17, 1e-12));
    }
}

TEST_CASE("the gradients of learned rates agree with finite differences", "[LearnedDiffRate]") {
  for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard})
    for (const SurvivorBias survivors : {SurvivorBias::kept, SurvivorBias::dropped})
      for (const bool by_class : {false, true}) {
        Setup s(mode, by_class ? Importance::class_token : Importance::received, by_class ? 2 : 0);
        s.age();
        s.options.survivor_bias = survivors;
        LearnedDiffRate<double>::Cache cache;
        Rng rng(4);
        const auto output = s.layer.forward(s.x, s.context(), rng, cache);
        const auto probe = random_matrix<double>(output.x.rows(), 4, rng);
        const auto score_probe = random_values<double>(17, rng),
                   bias_probe = random_values<double>(output.state.key_bias.size(), rng);
        LearnedDiffRate<double> gradients = zeros_like(s.layer);
        auto grad = s.layer.backward({probe, bias_probe, {score_probe, {2.5}}}, cache, gradients);
        auto parameters = parameter_views(s.layer), analytic = parameter_views(gradients);
        parameters.push_back(tensor_view("x", s.x));
        analytic.push_back(tensor_view("x", grad.x));
        parameters.push_back(view("key_bias", s.state.key_bias));
        analytic.push_back(view("key_bias", grad.key_bias));
        CAPTURE(static_cast<int>(mode), static_cast<int>(survivors), by_class);
        require_gradients(
            [&] {
              const auto moved = s.run();
              double sum = probe_sum(probe, moved.x) + 2.5 * moved.report.auxiliaries[0].value;
              for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
              for (Index t = 0; t < 17; ++t) sum += score_probe[t] * moved.report.scores[t];
              return sum;
            },
            parameters, analytic);
      }
}

TEST_CASE("learned rates keep their proportion where a call says how much goes", "[LearnedDiffRate]") {
  Setup s(DeletionMode::hard, Importance::received, 0, {9, 9});
  PolicyContext<double> context = s.context();
  const Rows removals = {3, 8};
  context.removals = removals;
  const auto asked = s.layer.forward(s.x, context);
  REQUIRE(asked.state.offsets == SequenceOffsets::from_lengths(Rows{6, 1}));
  const double share = static_cast<double>(9 - s.prunes().kept(9)) / static_cast<double>(9 - s.merges().kept(9));
  for (const Index i : {0, 1}) {
    const auto begin = asked.report.group.begin() + 9 * i;
    REQUIRE(std::count(begin, begin + 9, -1) == std::lround(share * static_cast<double>(removals[i])));
  }
  for (const Index kept : {1, 4, 9}) {
    s.options.threshold = kept < 9 ? (s.score(9, kept - 1) + s.score(9, kept)) / 2 : -100.0;
    if (kept < 9 && s.score(9, kept - 1) == s.score(9, kept)) continue;
    const auto above = s.run();
    REQUIRE(above.state.offsets == SequenceOffsets::from_lengths(Rows{kept, kept}));
    REQUIRE(above.report.threshold == *s.options.threshold);
  }
  s.options.threshold = 1.0;  // nothing is above it: the first stays
  REQUIRE(s.run().state.offsets == SequenceOffsets::from_lengths(Rows{1, 1}));
}

TEST_CASE("learned rates keep the laws of policies", "[LearnedDiffRate]") {
  PolicyLaws laws;
  laws.sizes = RowSizes::own;  // as those of DiffRate
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
    for (const SurvivorBias survivors : {SurvivorBias::kept, SurvivorBias::dropped})
      for (const Importance importance : {Importance::received, Importance::class_token}) {
        laws.size_bias = size_bias;
        laws.options.survivor_bias = survivors;
        require_policy_laws([=]<Real Scalar>() { return random_rates<Scalar>(importance); }, laws);
        require_protected_rows([=](Index rows) { return random_rates<double>(importance, rows); }, laws);
      }
}

TEST_CASE("of pads nobody hears again under soft deletion", "[LearnedDiffRate]") {
  Setup s(DeletionMode::soft);
  Rows rows;
  const auto without = s.run();
  const PolicyBatch<double> padded = s.padded(rows);
  PolicyContext<double> context = padded.context(s.options);
  const RowAttention<double> attention(padded);
  context.attention = &attention;
  const auto with = s.layer.forward(padded.x, context);
  REQUIRE(identical(with.x, without.x));
  REQUIRE(with.state.key_bias == without.state.key_bias);
  REQUIRE(with.state.deleted == without.state.deleted);
  REQUIRE(with.report.auxiliaries[0].value == without.report.auxiliaries[0].value);
  for (Index t = 0; t < rows.size(); ++t) REQUIRE(with.report.scores[rows[t]] == without.report.scores[t]);
  REQUIRE_THAT(with.report.scores[0], WithinAbs(2 * std::log(1e-13), 1e-12));
}

TEST_CASE("a new layer keeps nearly everything, and its gradients add up", "[LearnedDiffRate]") {
  Setup s(DeletionMode::soft, Importance::received, 0, {100});
  s.layer = LearnedDiffRate<double>(LearnedDiffRate<double>::Config{});
  const double share = s.run().report.auxiliaries[0].value;
  REQUIRE((share > 0.9 && share < 1));
  s.layer = random_rates<double>();
  LearnedDiffRate<double>::Cache cache;
  Rng rng(1);
  const auto state = rng.state();
  const auto output = s.layer.forward(s.x, s.context(), rng, cache);
  REQUIRE(rng.state() == state);
  require_backward_adds(s.layer, [&](LearnedDiffRate<double>& gradients) {
    s.layer.backward({output.x, output.state.key_bias, {{}, {1.0}}}, cache, gradients);
  });
  Vector<std::string> names;
  for (const auto& tensor : parameter_views(s.layer)) names.push_back(tensor.name);
  REQUIRE(names == Vector<std::string>{"prune_rate.logits", "merge_rate.logits"});
}

TEST_CASE("a probability of nothing has a score, and no gradient", "[LearnedDiffRate]") {
  Setup s(DeletionMode::soft, Importance::received, 0, {10});
  s.layer.prune_logits << 0, 0, 0, 0, 1000;
  LearnedDiffRate<double>::Cache cache;
  Rng rng(1);
  const auto output = s.layer.forward(s.x, s.context(), rng, cache);
  REQUIRE(*std::min_element(output.report.scores.begin(), output.report.scores.end()) > -61);
  LearnedDiffRate<double> gradients = zeros_like(s.layer);
  s.layer.backward({output.x, output.state.key_bias, {{}, {1.0}}}, cache, gradients);
  REQUIRE(all_finite(gradients));
}

TEST_CASE("settings of learned rates that do not fit are named", "[LearnedDiffRate]") {
  using Config = LearnedDiffRate<double>::Config;
  const auto error = [](const Config& config) {
    return argument_error([&] { LearnedDiffRate<double> layer(config); });
  };
  REQUIRE(error({.candidates = 0}) == "LearnedDiffRate: candidates: got 0, expected at least 1");
  REQUIRE(error({.protected_rows = -1}) == "LearnedDiffRate: protected_rows: got -1, expected at least 0");
  REQUIRE(error({.initial_logit = std::nan("")}) ==
          "LearnedDiffRate: initial_logit: got nan, expected a finite number");
  REQUIRE(argument_error([] { Setup(DeletionMode::none).run(); }) ==
          "LearnedDiffRate: options.mode: got none or everything, expected soft or hard");
  REQUIRE(random_rates<float>(Importance::class_token).traits().needs_class_token);
  const Setup s(DeletionMode::hard);
  LearnedDiffRate<double>::Cache cache;
  Rng rng(1);
  const auto output = s.layer.forward(s.x, s.context(), rng, cache);
  LearnedDiffRate<double> gradients = zeros_like(s.layer);
  REQUIRE(argument_error([&] {
            s.layer.backward({output.x, {1.0}, {}}, cache, gradients);
          }) == "LearnedDiffRate::backward: key_bias.size(): got 1, expected " + std::to_string(output.x.rows()));
  REQUIRE(argument_error([&] {
            s.layer.backward({output.x, {}, {{1.0}, {}}}, cache, gradients);
          }) == "LearnedDiffRate::backward: scores.size(): got 1, expected 17");
}

}  // namespace diffrate_rates_test
