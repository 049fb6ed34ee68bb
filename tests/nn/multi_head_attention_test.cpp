#include <merganser/nn/multi_head_attention.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/thread_pool.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace multi_head_attention_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

using Lengths = Vector<Index>;

enum class Kind { self, causal, cross };
enum class Extras { none, all };  // position bias, key bias, hidden keys and excess

struct Options {
  Kind kind = Kind::self;
  SoftmaxKind softmax = SoftmaxKind::softmax;
  ScoreBound bound;
  Extras extras = Extras::none;
  Lengths queries = {3, 1, 7};
  Lengths keys = {4, 2, 6};  // of cross attention
  Index width = 5, heads = 2, head_width = 3;
  std::uint64_t seed = 1;
};

// Positions with gaps, as after deletion: 0, 2, 3, 5, 6, 8, ...
Vector<Position> gapped_positions(const SequenceOffsets& offsets) {
  Vector<Position> positions = counting_positions(offsets);
  for (Position& position : positions) position += (position + 1) / 2;
  return positions;
}

template <Real Scalar>
struct Result {
  Matrix<Scalar> y;
  typename MultiHeadAttention<Scalar>::Cache cache;
};

template <Real Scalar>
struct Gradients {
  MultiHeadAttention<Scalar> layer;
  RelativePositionBias<Scalar> position_bias;
  Matrix<Scalar> x, memory;
  Vector<Scalar> key_bias;
};

// An attention layer with everything that it reads.
template <Real Scalar>
struct Scene {
  Options options;
  MultiHeadAttention<Scalar> layer;
  RelativePositionBias<Scalar> position_bias;
  SequenceOffsets query_offsets, key_offsets;
  Vector<Position> query_positions, key_positions;
  Matrix<Scalar> x, cross_memory, probe;
  Vector<Scalar> key_bias;
  Vector<std::uint8_t> hidden;
  std::optional<double> excess_limit;
  DistanceBias<Scalar> distance_bias;  // as of the last call of context()

  explicit Scene(const Options& given)
      : options(given),
        layer({given.width, given.heads, given.head_width, given.softmax, given.bound}),
        position_bias({8, 6, given.heads, given.kind == Kind::causal ? Direction::backward : Direction::both}),
        query_offsets(SequenceOffsets::from_lengths(given.queries)),
        key_offsets(given.kind == Kind::cross ? SequenceOffsets::from_lengths(given.keys) : query_offsets),
        query_positions(gapped_positions(query_offsets)),
        key_positions(gapped_positions(key_offsets)) {
    Rng rng(given.seed);
    randomise(layer, rng, 0.5);
    randomise(position_bias, rng);
    x = random_matrix<Scalar>(query_offsets.total(), given.width, rng);
    cross_memory = random_matrix<Scalar>(key_offsets.total(), given.width, rng);
    probe = random_matrix<Scalar>(query_offsets.total(), given.width, rng);
    if (given.extras == Extras::none) return;
    key_bias = random_values<Scalar>(key_offsets.total(), rng);
    for (Index i = 0; i < key_offsets.count(); ++i)  // never the first key: every query sees something
      for (Index k = 0; k < key_offsets.length(i); ++k) hidden.push_back(k > 0 && rng.bernoulli(0.3) ? 1 : 0);
  }

  bool crosses() const { return options.kind == Kind::cross; }
  const Matrix<Scalar>& memory() const { return crosses() ? cross_memory : x; }

  AttentionContext<Scalar> context() {
    AttentionContext<Scalar> context;
    context.queries = query_offsets.ranges();
    context.keys = key_offsets.ranges();
    context.query_positions = query_positions;
    context.key_positions = key_positions;
    if (options.extras == Extras::all) {
      distance_bias = position_bias.by_distance(1000);
      context.position_bias = &distance_bias;
    }
    context.key_bias = key_bias;
    context.hidden_keys = hidden;
    context.visibility = options.kind == Kind::causal ? Visibility::causal : Visibility::all;
    if (excess_limit) context.excess_limit = &*excess_limit;
    return context;
  }

  Matrix<Scalar> infer() { return layer.forward(x, memory(), context()); }

  Result<Scalar> train() {
    Result<Scalar> result;
    result.y = layer.forward(x, memory(), context(), result.cache);
    return result;
  }

  Gradients<Scalar> start_gradients() const { return {zeros_like(layer), zeros_like(position_bias), {}, {}, {}}; }

  // Adds parameter gradients, overwrites input gradients.
  void backward(Gradients<Scalar>& gradients, double excess_weight = 0.0) {
    const Result<Scalar> result = train();
    DistanceBias<Scalar> grad_distance = position_bias.no_bias(1000);
    auto inputs = layer.backward(probe, context(), result.cache, gradients.layer, &grad_distance, excess_weight);
    position_bias.backward(grad_distance, gradients.position_bias);
    gradients.x = inputs.query_input;
    gradients.memory = inputs.memory;
    if (!crosses()) gradients.x += inputs.memory;
    gradients.key_bias = inputs.key_bias;
  }

  Gradients<Scalar> backward_once(double excess_weight = 0.0) {
    Gradients<Scalar> gradients = start_gradients();
    backward(gradients, excess_weight);
    return gradients;
  }

  // The same layer with one sequence of the batch.
  Scene alone(Index sequence) const {
    Scene scene = *this;
    const RowRange queries = query_offsets.range(sequence), keys = key_offsets.range(sequence);
    scene.query_offsets = SequenceOffsets::single(queries.length);
    scene.key_offsets = SequenceOffsets::single(keys.length);
    scene.x = x.middleRows(queries.begin, queries.length);
    scene.probe = probe.middleRows(queries.begin, queries.length);
    scene.cross_memory = cross_memory.middleRows(keys.begin, keys.length);
    const auto part = [](auto& list, const RowRange& range) {
      if (!list.empty()) list = {list.begin() + range.begin, list.begin() + range.begin + range.length};
    };
    part(scene.query_positions, queries);
    part(scene.key_positions, keys);
    part(scene.key_bias, keys);
    part(scene.hidden, keys);
    return scene;
  }
};

// Content score of one pair by the definition.
double plain_content(const ScoreBound& bound, const RowVector<double>& q, const RowVector<double>& k) {
  const double product = q.dot(k);
  if (bound.kind == ScoreBoundKind::soft_cap) return bound.value * std::tanh(product / bound.value);
  if (bound.kind == ScoreBoundKind::normalised)
    return bound.value * product / std::sqrt((q.squaredNorm() + 1e-12) * (k.squaredNorm() + 1e-12));
  return product;
}

struct Plain {
  Matrix<double> y;
  double excess = 0;
};

// The layer by plain loops over heads, queries and keys.
Plain plain_forward(Scene<double>& s) {
  const AttentionContext<double> context = s.context();
  const Index width = s.options.head_width;
  const Matrix<double> q = s.x * s.layer.q.weight.matrix().transpose(),
                       k = s.memory() * s.layer.k.weight.matrix().transpose(),
                       v = s.memory() * s.layer.v.weight.matrix().transpose();
  Matrix<double> attended = Matrix<double>::Zero(q.rows(), q.cols());
  Plain result;
  for (Index n = 0; n < s.query_offsets.count(); ++n)
    for (Index h = 0; h < s.options.heads; ++h)
      for (Index i = s.query_offsets.begin(n); i < s.query_offsets.end(n); ++i) {
        RowVector<double> sum = RowVector<double>::Zero(width);
        double total = s.options.softmax == SoftmaxKind::softmax1 ? 1.0 : 0.0;
        for (Index j = s.key_offsets.begin(n); j < s.key_offsets.end(n); ++j) {
          const Index distance = s.key_positions[j] - s.query_positions[i];
          if ((!s.hidden.empty() && s.hidden[j] != 0) || (s.options.kind == Kind::causal && distance > 0)) continue;
          double score =
              plain_content(s.options.bound, q.row(i).segment(h * width, width), k.row(j).segment(h * width, width));
          if (context.position_bias != nullptr)
            score += s.position_bias.weight(
                RelativePositionBias<double>::bucket(
                    distance, {8, 6, 2, s.options.kind == Kind::causal ? Direction::backward : Direction::both}),
                h);
          if (s.excess_limit) result.excess += std::max(score - *s.excess_limit, 0.0);
          if (!s.key_bias.empty()) score += s.key_bias[j];
          total += std::exp(score);
          sum += std::exp(score) * v.row(j).segment(h * width, width);
        }
        if (total > 0) attended.row(i).segment(h * width, width) = sum / total;
      }
  result.y = attended * s.layer.o.weight.matrix().transpose();
  return result;
}

Vector<Options> all_options() {
  Vector<Options> result;
  for (const Kind kind : {Kind::self, Kind::causal, Kind::cross})
    for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1})
      for (const ScoreBound& bound : {ScoreBound::none(), ScoreBound::soft_cap(2.0), ScoreBound::normalised(3.0)})
        for (const Extras extras : {Extras::none, Extras::all}) {
          Options options;
          options.kind = kind;
          options.softmax = softmax;
          options.bound = bound;
          options.extras = extras;
          options.seed = static_cast<std::uint64_t>(result.size() + 1);
          result.push_back(options);
        }
  return result;
}

std::string describe(const Options& o) {
  const char* kinds[] = {"self", "causal", "cross"};
  const char* bounds[] = {"no bound", "soft cap", "normalised"};
  return std::string(kinds[static_cast<int>(o.kind)]) +
         (o.softmax == SoftmaxKind::softmax1 ? ", softmax1, " : ", softmax, ") +
         bounds[static_cast<int>(o.bound.kind)] + (o.extras == Extras::all ? ", with everything" : "");
}

double excess_at(Scene<double>& scene, double limit) {
  scene.excess_limit = limit;
  return scene.train().cache.excess;
}

// Sets a limit below some score with none within 0.02 of it, more than ten times what a step of the check moves a
// score: without a kink there, the excess is a straight line in the limit.
void choose_limit(Scene<double>& scene) {
  const double margin = 0.02;
  for (double limit = 1.5; limit > -8.0; limit -= 0.01) {
    const double above = excess_at(scene, limit + margin), below = excess_at(scene, limit - margin);
    const double here = excess_at(scene, limit);
    if (here > 0 && std::abs(above + below - 2 * here) < 1e-10) return;
  }
  FAIL("no limit away from all scores");
}

template <Real Scalar>
Vector<ParameterView<Scalar>> views_of(Gradients<Scalar>& gradients) {
  auto views = parameter_views(gradients.layer);
  views.push_back(
      {"position bias", gradients.position_bias.weight.data(), 1, gradients.position_bias.weight.size(), true});
  views.push_back({"x", gradients.x.data(), gradients.x.rows(), gradients.x.cols(), false});
  views.push_back({"memory", gradients.memory.data(), gradients.memory.rows(), gradients.memory.cols(), false});
  views.push_back({"key bias", gradients.key_bias.data(), 1, gradients.key_bias.size(), true});
  return views;
}

void check_gradients_of(const Options& options) {
  Scene<double> s(options);
  double weight = 0;
  if (options.extras == Extras::all) {
    choose_limit(s);
    weight = 0.3;
  }
  Gradients<double> gradients = s.backward_once(weight);
  auto parameters = parameter_views(s.layer), analytic = parameter_views(gradients.layer);
  const auto also = [&](const std::string& name, double* value, double* gradient, Index size) {
    parameters.push_back({name, value, 1, size, true});
    analytic.push_back({name, gradient, 1, size, true});
  };
  also("position bias", s.position_bias.weight.data(), gradients.position_bias.weight.data(),
       s.position_bias.weight.size());
  also("x", s.x.data(), gradients.x.data(), s.x.size());
  if (s.crosses()) also("memory", s.cross_memory.data(), gradients.memory.data(), s.cross_memory.size());
  REQUIRE(gradients.key_bias.size() == s.key_bias.size());
  also("key bias", s.key_bias.data(), gradients.key_bias.data(), s.key_bias.size());
  const auto f = [&] {
    const Result<double> result = s.train();
    return probe_sum(s.probe, result.y) + weight * result.cache.excess;
  };
  require_gradients(f, parameters, analytic);
}

// Lengths and widths for which every product is cut into several tasks, and queries into several blocks.
Options large_options(Kind kind) {
  Options options;
  options.kind = kind;
  options.softmax = SoftmaxKind::softmax1;
  options.bound = ScoreBound::normalised(3.0);
  options.extras = Extras::all;
  options.queries = {70, 0, 41, 39};
  options.keys = {50, 3, 0, 97};
  options.width = 20;
  options.heads = 3;
  options.head_width = 8;
  return options;
}

TEST_CASE("attention is that of plain loops", "[MultiHeadAttention]") {
  for (Options options : all_options())
    for (const Lengths& keys : {Lengths{4, 2, 6}, Lengths{2, 0, 5}}) {
      options.keys = keys;
      Scene<double> s(options);
      s.excess_limit = 0.5;
      const Result<double> result = s.train();
      const Plain expected = plain_forward(s);
      INFO(describe(options));
      REQUIRE(relative_difference(result.y, expected.y) <= agreement<double>);
      REQUIRE_THAT(result.cache.excess, WithinRel(expected.excess, 1e-12));
      double pairs = 0;
      for (Index n = 0; n < 3; ++n)
        pairs += 2.0 * static_cast<double>(s.query_offsets.length(n) * s.key_offsets.length(n));
      REQUIRE(result.cache.pairs == pairs);
    }
}

TEST_CASE("the gradients of attention agree with finite differences", "[MultiHeadAttention]") {
  for (const Options& options : all_options()) {
    INFO(describe(options));
    check_gradients_of(options);
  }
}

TEST_CASE("the gradients of attention agree with finite differences when sequences are empty", "[MultiHeadAttention]") {
  for (Options options : all_options()) {
    if (options.extras == Extras::none) continue;
    options.queries = options.kind == Kind::cross ? Lengths{3, 1, 7} : Lengths{2, 0, 5};
    options.keys = {2, 0, 5};
    INFO(describe(options));
    check_gradients_of(options);
  }
}

TEMPLATE_TEST_CASE("attention keeps the laws", "[MultiHeadAttention]", float, double) {
  for (const Options& options : all_options()) {
    INFO(describe(options));
    Scene<TestType> s(options);
    const Scene<TestType> before = s;
    require_forward_agrees([&] { return s.infer(); }, [&] { return s.train().y; });
    require_backward_adds(s.layer, [&](MultiHeadAttention<TestType>& layer) {
      Gradients<TestType> gradients = s.start_gradients();
      gradients.layer = layer;
      s.backward(gradients);
      layer = gradients.layer;
    });
    if (options.extras == Extras::all)
      require_backward_adds(s.position_bias, [&](RelativePositionBias<TestType>& position_bias) {
        Gradients<TestType> gradients = s.start_gradients();
        gradients.position_bias = position_bias;
        s.backward(gradients);
        position_bias = gradients.position_bias;
      });
    REQUIRE(identical(s.x, before.x));
    REQUIRE(identical(s.cross_memory, before.cross_memory));
    REQUIRE(s.key_bias == before.key_bias);
    for (const auto part : {&MultiHeadAttention<TestType>::q, &MultiHeadAttention<TestType>::k,
                            &MultiHeadAttention<TestType>::v, &MultiHeadAttention<TestType>::o})
      REQUIRE(identical((s.layer.*part).weight.matrix(), (before.layer.*part).weight.matrix()));
  }
}

TEST_CASE("attention in float follows the one in double", "[MultiHeadAttention]") {
  for (const Options& options : all_options()) {
    INFO(describe(options));
    Scene<double> twice(options);
    choose_limit(twice);
    Scene<float> single(options);
    single.excess_limit = twice.excess_limit;
    require_float_follows_double([&] { return single.infer(); }, [&] { return twice.infer(); });
    REQUIRE_THAT(single.train().cache.excess, WithinRel(twice.train().cache.excess, 1e-4));
    Gradients<float> single_gradients = single.backward_once(0.3);
    Gradients<double> double_gradients = twice.backward_once(0.3);
    const auto mine = views_of(single_gradients);
    const auto its = views_of(double_gradients);
    for (Index p = 0; p < mine.size(); ++p) {
      INFO(mine[p].name);
      REQUIRE(relative_difference(mine[p].array(), its[p].array()) <= agreement<float>);
    }
  }
}

TEMPLATE_TEST_CASE("a batch of sequences is the sequences one by one", "[MultiHeadAttention]", float, double) {
  Vector<Options> cases = all_options();
  for (const Kind kind : {Kind::self, Kind::causal, Kind::cross}) cases.push_back(large_options(kind));
  for (const Options& options : cases) {
    INFO(describe(options));
    Scene<TestType> s(options);
    s.excess_limit = 0.5;
    const Result<TestType> batch = s.train();
    Gradients<TestType> together = s.backward_once(0.3), one_by_one = s.start_gradients();
    double excess = 0;
    for (Index n = 0; n < s.query_offsets.count(); ++n) {
      const RowRange queries = s.query_offsets.range(n), keys = s.key_offsets.range(n);
      Scene<TestType> alone = s.alone(n);
      const Result<TestType> result = alone.train();
      excess += result.cache.excess;
      REQUIRE(identical(result.y, Matrix<TestType>(batch.y.middleRows(queries.begin, queries.length))));
      alone.backward(one_by_one, 0.3);
      REQUIRE(identical(one_by_one.x, Matrix<TestType>(together.x.middleRows(queries.begin, queries.length))));
      REQUIRE(identical(one_by_one.memory, Matrix<TestType>(together.memory.middleRows(keys.begin, keys.length))));
      REQUIRE(std::equal(one_by_one.key_bias.begin(), one_by_one.key_bias.end(),
                         together.key_bias.begin() + (together.key_bias.empty() ? 0 : keys.begin)));
    }
    REQUIRE_THAT(excess, WithinRel(batch.cache.excess, 1e-12));
    one_by_one.x = together.x;
    one_by_one.memory = together.memory;
    one_by_one.key_bias = together.key_bias;
    const auto sums = views_of(one_by_one), totals = views_of(together);
    for (Index p = 0; p < sums.size(); ++p) {
      INFO(sums[p].name);
      REQUIRE(relative_difference(sums[p].array(), totals[p].array()) <= agreement<TestType>);
    }
  }
}

TEMPLATE_TEST_CASE("attention has the same bits with one thread and with two", "[MultiHeadAttention]", float, double) {
  for (const Kind kind : {Kind::self, Kind::causal, Kind::cross}) {
    Scene<TestType> s(large_options(kind));
    s.excess_limit = 0.5;
    require_same_bits_with_threads([&] { return s.infer(); });
    require_same_bits_with_threads(
        [&] { return Matrix<double>(Matrix<double>::Constant(1, 1, s.train().cache.excess)); });
    for (Index p = 0; p < 8; ++p)
      require_same_bits_with_threads([&] {
        Gradients<TestType> gradients = s.backward_once(0.3);
        return Matrix<TestType>(views_of(gradients)[p].array().matrix());
      });
  }
}

TEMPLATE_TEST_CASE("decoding token by token gives what the causal layer gives at once", "[MultiHeadAttention]", float,
                   double) {
  for (const Options& options : all_options()) {
    if (options.kind != Kind::causal) continue;
    INFO(describe(options));
    Scene<TestType> s(options);
    s.hidden.clear();
    const Matrix<TestType> at_once = s.infer();

    // Room for every key from the start; rows not yet written must not be read.
    const Index inner = options.heads * options.head_width, total = s.query_offsets.total();
    const TestType unwritten = std::numeric_limits<TestType>::quiet_NaN();
    KeyValues<TestType> store{
        Matrix<TestType>::Constant(total, inner, unwritten), Matrix<TestType>::Constant(total, inner, unwritten), {}};
    Matrix<TestType> step_by_step(total, options.width);
    for (Index step = 0; step < s.query_offsets.max_length(); ++step) {
      Vector<Index> rows;  // the token of this step in every sequence that still has one
      AttentionContext<TestType> context = s.context();
      context.queries.clear();
      context.keys.clear();
      Vector<Position> positions;
      for (Index n = 0; n < s.query_offsets.count(); ++n) {
        if (step >= s.query_offsets.length(n)) continue;
        context.queries.push_back({rows.size(), 1});
        context.keys.push_back({s.key_offsets.begin(n), step + 1});
        rows.push_back(s.query_offsets.begin(n) + step);
        positions.push_back(s.query_positions[rows.back()]);
      }
      context.query_positions = positions;
      Matrix<TestType> tokens(rows.size(), options.width);
      for (Index r = 0; r < rows.size(); ++r) tokens.row(r) = s.x.row(rows[r]);
      const KeyValues<TestType> fresh = s.layer.project(tokens);
      for (Index r = 0; r < rows.size(); ++r) {
        store.keys.row(rows[r]) = fresh.keys.row(r);
        store.values.row(rows[r]) = fresh.values.row(r);
      }
      const Matrix<TestType> y = s.layer.attend(tokens, store, context);
      for (Index r = 0; r < rows.size(); ++r) step_by_step.row(rows[r]) = y.row(r);
    }
    REQUIRE(relative_difference(step_by_step, at_once) <= agreement<TestType>);
  }
}

TEMPLATE_TEST_CASE("projected memory can be attended to again and again", "[MultiHeadAttention]", float, double) {
  for (const Options& options : all_options()) {
    Scene<TestType> s(options);
    const KeyValues<TestType> projected = s.layer.project(s.memory());
    REQUIRE(identical(s.layer.attend(s.x, projected, s.context()), s.infer()));
    REQUIRE(identical(s.layer.attend(s.x, projected, s.context()), s.infer()));
  }
}

TEMPLATE_TEST_CASE("a hidden key is a key that is not there", "[MultiHeadAttention]", float, double) {
  for (const Options& options : all_options()) {
    if (options.kind != Kind::cross || options.extras == Extras::none) continue;
    INFO(describe(options));
    Scene<TestType> s(options);
    s.hidden = {0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0};  // of keys {4, 2, 6}
    Scene<TestType> compact = s;
    Vector<Index> kept;
    for (Index k = 0; k < 12; ++k)
      if (s.hidden[k] == 0) kept.push_back(k);
    compact.hidden.clear();
    compact.key_offsets = SequenceOffsets::from_lengths(Lengths{3, 1, 4});
    compact.cross_memory = s.cross_memory(kept, Eigen::all);
    compact.key_bias.clear();
    compact.key_positions.clear();
    for (const Index k : kept) {
      compact.key_bias.push_back(s.key_bias[k]);
      compact.key_positions.push_back(s.key_positions[k]);
    }
    REQUIRE(relative_difference(s.infer(), compact.infer()) <= agreement<TestType>);
    const Gradients<TestType> gradients = s.backward_once();
    for (Index k = 0; k < 12; ++k) {
      if (s.hidden[k] == 0) continue;
      REQUIRE((gradients.memory.row(k).array() == TestType{0}).all());
      REQUIRE(gradients.key_bias[k] == TestType{0});
    }
  }
}

TEMPLATE_TEST_CASE("a query without keys, or in no range, gets 0", "[MultiHeadAttention]", float, double) {
  for (Options options : all_options()) {
    if (options.kind != Kind::cross) continue;
    options.keys = {2, 0, 5};
    Scene<TestType> s(options);
    const Matrix<TestType> y = s.infer();
    REQUIRE((y.row(3).array() == TestType{0}).all());  // the only query of the second sequence
    REQUIRE((y.row(2).array() != TestType{0}).any());
    AttentionContext<TestType> context = s.context();
    context.queries.pop_back();
    context.keys.pop_back();
    const Matrix<TestType> fewer = s.layer.forward(s.x, s.memory(), context);
    REQUIRE(identical(Matrix<TestType>(fewer.topRows(4)), Matrix<TestType>(y.topRows(4))));
    REQUIRE((fewer.bottomRows(7).array() == TestType{0}).all());
  }
}

TEMPLATE_TEST_CASE("an empty batch", "[MultiHeadAttention]", float, double) {
  for (Options options : all_options())
    for (const Lengths& lengths : {Lengths{}, Lengths{0, 0}}) {
      options.queries = options.keys = lengths;
      Scene<TestType> s(options);
      s.excess_limit = 0.5;
      REQUIRE(s.infer().rows() == 0);
      REQUIRE(s.infer().cols() == options.width);
      REQUIRE(s.train().cache.excess == 0.0);
      REQUIRE(s.train().cache.pairs == 0.0);
      Gradients<TestType> gradients = s.backward_once(0.3);
      REQUIRE(gradients.memory.rows() == 0);
      for (const auto& view : parameter_views(gradients.layer)) REQUIRE((view.array() == TestType{0}).all());
    }
}

TEST_CASE("bounded scores stay within their bound", "[MultiHeadAttention]") {
  for (const ScoreBound& bound : {ScoreBound::soft_cap(2.0), ScoreBound::normalised(2.0)}) {
    Options options;
    options.bound = bound;
    Scene<double> s(options);
    s.layer.q.weight.matrix() *= 100;
    REQUIRE(excess_at(s, 2.0 + 1e-9) == 0.0);
    REQUIRE(excess_at(s, 1.5) > 0.0);
  }
}

TEST_CASE("a score that is not a number reaches the result", "[MultiHeadAttention]") {
  for (const Options& options : all_options()) {
    Scene<float> s(options);
    s.x(0, 0) = std::numeric_limits<float>::quiet_NaN();
    INFO(describe(options));
    const Matrix<float> y = s.infer();
    REQUIRE(y.row(0).hasNaN());
    REQUIRE(y.bottomRows(8).allFinite());
  }
}

TEST_CASE("attention is initialised as in T5", "[MultiHeadAttention]") {
  MultiHeadAttention<float> layer({60, 5, 16, SoftmaxKind::softmax, {}});
  Rng rng(1);
  layer.initialize(0.5, rng);
  // 4800 numbers each: standard error 1 %
  REQUIRE_THAT(measured_deviation(layer.q.weight.matrix()), WithinRel(0.5 / std::sqrt(60.0 * 16), 0.04));
  REQUIRE_THAT(measured_deviation(layer.k.weight.matrix()), WithinRel(0.5 / std::sqrt(60.0), 0.04));
  REQUIRE_THAT(measured_deviation(layer.v.weight.matrix()), WithinRel(0.5 / std::sqrt(60.0), 0.04));
  REQUIRE_THAT(measured_deviation(layer.o.weight.matrix()), WithinRel(0.5 / std::sqrt(80.0), 0.04));
  REQUIRE_FALSE(identical(layer.k.weight.matrix(), layer.v.weight.matrix()));
}

TEST_CASE("attention names its parameters as published checkpoints do", "[MultiHeadAttention]") {
  MultiHeadAttention<float> layer({5, 2, 3, SoftmaxKind::softmax, {}});
  const auto views = parameter_views(layer, "SelfAttention.");
  const char* names[] = {"SelfAttention.q.weight", "SelfAttention.k.weight", "SelfAttention.v.weight",
                         "SelfAttention.o.weight"};
  REQUIRE(views.size() == 4);
  for (Index p = 0; p < 4; ++p) {
    REQUIRE(views[p].name == names[p]);
    REQUIRE(views[p].rows == (p < 3 ? 6 : 5));
    REQUIRE(views[p].cols == (p < 3 ? 5 : 6));
  }
}

TEST_CASE("attention says what is wrong with its configuration", "[MultiHeadAttention]") {
  const auto error = [](Index width, Index heads, Index head_width, const ScoreBound& bound) {
    return argument_error([&] { MultiHeadAttention<float>({width, heads, head_width, SoftmaxKind::softmax, bound}); });
  };
  REQUIRE(error(0, 2, 3, {}) == "MultiHeadAttention: width: got 0, expected at least 1");
  REQUIRE(error(5, -2, -3, {}) == "MultiHeadAttention: heads: got -2, expected at least 1");
  REQUIRE(error(5, 2, 0, {}) == "MultiHeadAttention: head_width: got 0, expected at least 1");
  REQUIRE(error(5, 2, 3, ScoreBound::soft_cap(0)) ==
          "MultiHeadAttention: score_bound.value: got 0, expected a positive number");
}

TEST_CASE("attention says what does not fit in its context", "[MultiHeadAttention]") {
  Options options;
  options.kind = Kind::cross;
  options.extras = Extras::all;
  Scene<float> s(options);  // queries {3, 1, 7}, keys {4, 2, 6}
  const auto error = [&](auto&& change) {
    AttentionContext<float> context = s.context();
    change(context);
    return argument_error([&] { s.layer.forward(s.x, s.memory(), context); });
  };
  REQUIRE(error([](auto& c) { c.keys.pop_back(); }) == "MultiHeadAttention: context.keys.size(): got 2, expected 3");
  REQUIRE(error([](auto& c) { c.queries[2].length = 8; }) ==
          "MultiHeadAttention: context.queries: got 8 rows from 4, expected rows in [0, 11)");
  REQUIRE(error([](auto& c) { c.queries[0].begin = -1; }) ==
          "MultiHeadAttention: context.queries: got 3 rows from -1, expected rows in [0, 11)");
  REQUIRE(error([](auto& c) { c.keys[1].length = -2; }) ==
          "MultiHeadAttention: context.keys: got -2 rows from 4, expected rows in [0, 12)");
  REQUIRE(error([](auto& c) { c.key_bias = c.key_bias.first(11); }) ==
          "MultiHeadAttention: context.key_bias.size(): got 11, expected 12");
  REQUIRE(error([](auto& c) { c.hidden_keys = c.hidden_keys.first(1); }) ==
          "MultiHeadAttention: context.hidden_keys.size(): got 1, expected 12");
  REQUIRE(error([](auto& c) { c.query_positions = {}; }) ==
          "MultiHeadAttention: context.query_positions.size(): got 0, expected 11");
  REQUIRE(error([](auto& c) { c.key_positions = c.key_positions.first(3); }) ==
          "MultiHeadAttention: context.key_positions.size(): got 3, expected 12");
  const DistanceBias<float> other_heads{Matrix<float>::Zero(3, 5), 2};
  REQUIRE(error([&](auto& c) { c.position_bias = &other_heads; }) ==
          "MultiHeadAttention: heads of the position bias: got 3, expected 2");
  REQUIRE(error([](auto& c) {  // positions are not needed here
            c.position_bias = nullptr;
            c.query_positions = {};
            c.key_positions = {};
          }) == "nothing thrown");
  REQUIRE(argument_error([&] { s.layer.forward(Matrix<float>::Zero(11, 4), s.memory(), s.context()); }) ==
          "Linear::forward: x.cols(): got 4, expected 5");
  const Result<float> result = s.train();
  MultiHeadAttention<float> gradients = zeros_like(s.layer);
  REQUIRE(argument_error([&] { s.layer.backward(Matrix<float>::Zero(3, 5), s.context(), result.cache, gradients); }) ==
          "Linear::backward: grad_y.rows(): got 3, expected 11");
}

TEST_CASE("attention goes backward only over what it went forward over", "[MultiHeadAttention]") {
  Options options;
  options.kind = Kind::cross;
  options.extras = Extras::all;
  Scene<float> s(options);  // queries {3, 1, 7}, keys {4, 2, 6}
  const Result<float> result = s.train();
  MultiHeadAttention<float> gradients = zeros_like(s.layer);
  const auto error = [&](auto&& change) {
    AttentionContext<float> context = s.context();
    auto cache = result.cache;
    DistanceBias<float> grad_distance = s.position_bias.no_bias(1000);
    change(context, cache, grad_distance);
    return argument_error([&] { s.layer.backward(s.probe, context, cache, gradients, &grad_distance); });
  };
  const std::string here = "MultiHeadAttention::backward: ";
  REQUIRE(error([](auto&, auto&, auto&) {}) == "nothing thrown");
  REQUIRE(error([](auto& c, auto&, auto&) { c.queries[2].length = 8; }) ==
          here + "context.queries: got 8 rows from 4, expected rows in [0, 11)");
  REQUIRE(error([](auto& c, auto&, auto&) { c.keys[2].length = 5; }) ==
          here + "context: got other sequences, expected those of forward");
  REQUIRE(error([](auto& c, auto&, auto&) { c.key_bias = c.key_bias.first(11); }) ==
          here + "context.key_bias.size(): got 11, expected 12");
  REQUIRE(error([](auto&, auto&, auto& grad) { grad.values.resize(2, 5); }) ==
          here + "grad_position_bias: got 2 x 5, expected 2 x 13");
  REQUIRE(error([](auto&, auto& cache, auto&) { cache.largest_scores.resize(2, 3); }) ==
          here + "cache: queries of the softmax: got 3, expected 11");
  REQUIRE(error([](auto&, auto& cache, auto&) { cache.attended.resize(3, 6); }) ==
          here + "cache.attended: got 3 x 6, expected 11 x 6");
}

TEST_CASE("sequences share keys forward, but have no gradient then", "[MultiHeadAttention]") {
  Options options;
  options.kind = Kind::cross;
  options.queries = {4, 4, 4};
  options.keys = {6, 6, 6};
  Scene<double> s(options);
  AttentionContext<double> context = s.context();
  for (RowRange& keys : context.keys) keys = {0, 6};
  ThreadPool pool(2);
  const ExecutorScope scope(pool);
  MultiHeadAttention<double>::Cache cache;
  const Matrix<double> y = s.layer.forward(s.x, s.memory(), context, cache);
  for (Index i = 0; i < 3; ++i) {
    AttentionContext<double> alone;
    alone.queries = {{0, 4}};
    alone.keys = {{0, 6}};
    REQUIRE(identical(Matrix<double>(y.middleRows(4 * i, 4)),
                      s.layer.forward(s.x.middleRows(4 * i, 4), s.memory(), alone)));
  }
  MultiHeadAttention<double> gradients = zeros_like(s.layer);
  REQUIRE(argument_error([&] { s.layer.backward(s.probe, context, cache, gradients); }) ==
          "MultiHeadAttention::backward: context.keys: got rows of two sequences, expected rows of one each");
}

}  // namespace multi_head_attention_test
