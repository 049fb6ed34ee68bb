#include <merganser/models/decoder_state.hpp>

#include <vector>

#include <merganser/models/decoder.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace decoder_state_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;

constexpr Index capacity = 6;

/// A decoder, what an encoder left for it, and inputs for any sequence and step.
template <Real Scalar>
struct Setup {
  Decoder<Scalar> decoder;
  EncoderOutput<Scalar> memory;
  Matrix<Scalar> inputs;

  explicit Setup(const StackConfig& stack) : decoder(stack) {
    fill_model(decoder, 3);
    Rng rng(4);
    const Vector<Index> lengths{3, 1, 5, 0};
    memory = of_lengths(lengths, random_matrix<Scalar>(9, stack.width, rng), random_values<Scalar>(9, rng));
    memory.hidden_keys = {0, 0, 1, 0, 0, 0, 0, 1, 0};
    inputs = random_matrix<Scalar>(8, stack.width, rng);
  }

  static EncoderOutput<Scalar> of_lengths(const Vector<Index>& lengths, const Matrix<Scalar>& values,
                                          Vector<Scalar> key_bias) {
    EncoderOutput<Scalar> output;
    output.hidden = RaggedBatch<Scalar>(values, SequenceOffsets::from_lengths(lengths));
    output.key_bias = std::move(key_bias);
    return output;
  }

  /// The last output of a sequence that reads `source` alone and was given these inputs.
  Matrix<Scalar> alone(Index source, const Vector<Index>& given) const {
    const RowRange rows = memory.hidden.offsets.range(source);
    const auto part = [&](const auto& all) {
      using Vector = std::decay_t<decltype(all)>;
      return Vector(all.begin() + rows.begin, all.begin() + rows.begin + rows.length);
    };
    EncoderOutput<Scalar> own =
        of_lengths({rows.length}, memory.hidden.values.middleRows(rows.begin, rows.length), part(memory.key_bias));
    own.hidden_keys = part(memory.hidden_keys);
    DecoderState<Scalar> state = decoder.start(own, capacity);
    Matrix<Scalar> y;
    for (const Index row : given) y = decoder.step(inputs.row(row), state);
    return y;
  }
};

/// Who goes on with what: the source that a sequence reads and the inputs it was given.
struct Track {
  Index source;
  Vector<Index> given;
};

TEMPLATE_TEST_CASE("sequences that are chosen, left out, swapped and branched go on as they would alone",
                   "[DecoderState]", float, double) {
  for (const PositionScheme scheme : {PositionScheme::relative, PositionScheme::absolute})
    for (const int threads : {1, 2}) {
      const Threads used(threads);
      StackConfig stack = tiny_stack();
      stack.positions = scheme;
      const Setup<TestType> s(stack);
      DecoderState<TestType> state = s.decoder.start(s.memory, capacity);
      Vector<Track> tracks{{0, {}}, {1, {}}, {2, {}}, {3, {}}};
      Rng rng(5);
      const Vector<Vector<Index>> choices{{0, 1, 2, 3}, {3, 2, 2, 0, 2}, {4, 0, 1, 1, 3, 2, 2, 2}, {1, 6}, {1, 0}};
      for (const Vector<Index>& chosen : choices) {
        Matrix<TestType> embedded(tracks.size(), stack.width);
        for (Index n = 0; n < tracks.size(); ++n) {
          tracks[n].given.push_back(static_cast<Index>(rng.below(8)));
          embedded.row(n) = s.inputs.row(tracks[n].given.back());
        }
        const Matrix<TestType> y = s.decoder.step(embedded, state);
        for (Index n = 0; n < tracks.size(); ++n)
          REQUIRE(identical(y.row(n), s.alone(tracks[n].source, tracks[n].given)));
        state.select(chosen);
        Vector<Track> next;
        for (const Index from : chosen) next.push_back(tracks[from]);
        tracks = next;
        REQUIRE(state.sequences == tracks.size());
      }
    }
}

TEST_CASE("a state may lose all sequences, and go on from before its first token", "[DecoderState]") {
  const Setup<double> s(tiny_stack());
  DecoderState<double> state = s.decoder.start(s.memory, capacity);
  state.select(Vector<Index>{2, 2, 0});
  Matrix<double> embedded = s.inputs.topRows(3);
  const Matrix<double> y = s.decoder.step(embedded, state);
  REQUIRE(identical(y.row(0), s.alone(2, {0})));
  REQUIRE(identical(y.row(1), s.alone(2, {1})));
  REQUIRE(identical(y.row(2), s.alone(0, {2})));
  state.select({});
  REQUIRE(state.sequences == 0);
  REQUIRE(s.decoder.step(Matrix<double>(0, 6), state).rows() == 0);
}

TEST_CASE("a state takes memory as it grows, and loses nothing", "[DecoderState]") {
  const Setup<float> s(tiny_stack());
  DecoderState<float> state = s.decoder.start(s.memory, 1'000'000'000);
  const Index first = state.capacity;
  REQUIRE(first < 1000);
  REQUIRE(state.self[0].keys.rows() == 4 * first);
  Vector<Vector<Index>> given(4);  // the inputs of each sequence, step by step
  Rng rng(6);
  Matrix<float> embedded(4, 6), y;
  for (Index t = 0; t < first + 20; ++t) {
    for (Index n = 0; n < 4; ++n) {
      given[n].push_back(static_cast<Index>(rng.below(8)));
      embedded.row(n) = s.inputs.row(given[n].back());
    }
    y = s.decoder.step(embedded, state);
  }
  REQUIRE(state.capacity == 2 * first);
  REQUIRE(state.self[0].keys.rows() == 8 * first);
  Matrix<float> all(4 * (first + 20), 6);
  for (Index n = 0; n < 4; ++n)
    for (Index t = 0; t < first + 20; ++t) all.row(n * (first + 20) + t) = s.inputs.row(given[n][t]);
  const Matrix<float> whole =
      s.decoder.forward(RaggedBatch<float>(all, SequenceOffsets::from_lengths(Vector<Index>(4, first + 20))), s.memory);
  for (Index n = 0; n < 4; ++n)
    REQUIRE(relative_difference(Matrix<float>(y.row(n)), Matrix<float>(whole.row((n + 1) * (first + 20) - 1))) < 1e-5);
  DecoderState<float> exact = s.decoder.start(s.memory, 5);
  REQUIRE(exact.capacity == 5);
}

TEST_CASE("only sequences of the state can be chosen", "[DecoderState]") {
  const Setup<float> s(tiny_stack());
  DecoderState<float> state = s.decoder.start(s.memory, capacity);
  REQUIRE(argument_error([&] {
            state.select(Vector<Index>{0, 4});
          }) == "DecoderState::select: chosen: got 4, expected a sequence of the state");
  REQUIRE(argument_error([&] { state.select(Vector<Index>{-1}); }) ==
          "DecoderState::select: chosen: got -1, expected a sequence of the state");
  REQUIRE(state.sequences == 4);
  REQUIRE(state.memory.size() == 4);
}

}  // namespace decoder_state_test
