// One training example, and a ragged batch of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// What the encoder reads and what the decoder is to say; any ids, each side with its own length.
struct Example {
  std::vector<TokenId> source;
  std::vector<TokenId> target;  ///< the labels, end of sequence included

  /// Tokens of both sides together.
  Index token_count() const { return static_cast<Index>(source.size() + target.size()); }

  bool operator==(const Example&) const = default;
};

/// N examples without padding: sequence i of `source` belongs to sequence i of `target`.
struct Batch {
  TokenBatch source;
  TokenBatch target;
  Vector<Index> labels = {};  ///< [N] or empty: see `merge::DeletionOptions::labels`

  Index count() const { return source.count(); }

  /// Appends an example.
  void push_back(const Example& example) {
    source.push_back(example.source);
    target.push_back(example.target);
  }

  bool operator==(const Batch&) const = default;
};

/// Lays examples one after the other, in their order; sides may be empty.
inline Batch make_batch(std::span<const Example> examples) {
  Batch batch;
  for (const Example& example : examples) batch.push_back(example);
  return batch;
}

/// The examples in their order, so many a batch; the last may be smaller.
inline std::vector<Batch> make_batches(std::span<const Example> examples, std::size_t sequences = 32) {
  std::vector<Batch> batches;
  for (std::size_t begin = 0; begin < examples.size(); begin += sequences)
    batches.push_back(make_batch(examples.subspan(begin, std::min(sequences, examples.size() - begin))));
  return batches;
}

/// The id that the Config of a model calls `pad`, if it has one: source tokens with it count nowhere.
template <class Model>
std::optional<TokenId> pad_of(const Model& model) {
  if constexpr (requires { model.config().pad; })
    return model.config().pad;
  else
    return std::nullopt;
}

/// Anything that draws a fresh example: a callable `Example(Rng&)`.
template <class Source>
concept ExampleSource = std::is_invocable_r_v<Example, Source&, Rng&>;

}  // namespace merganser::data
