// The measured jobs: an encoder pass, encoder and decoder, generation, a ragged batch, a training step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "shapes.hpp"

namespace merganser::bench {

enum class Mode {
  encode,         ///< one text
  encode_decode,  ///< one text, and logits for 189 of 1024 as many target bytes (what span corruption makes)
  generate,       ///< 64 bytes after one text, which was encoded before the clock started
  ragged,         ///< 8 texts in one batch, of 1/8, 2/8 ... 8/8 of the bytes
  train,          ///< a step over 16 texts with targets of a quarter of the bytes, soft deletion
};

inline std::string name_of(Mode mode) {
  switch (mode) {
    case Mode::encode:
      return "encode";
    case Mode::encode_decode:
      return "encode_decode";
    case Mode::generate:
      return "generate";
    case Mode::ragged:
      return "ragged";
    case Mode::train:
      return "train";
  }
  return "";
}

inline constexpr Index generated_bytes = 64;

struct Job {
  Shape shape = Shape::demo;
  Mode mode = Mode::encode;
  Index bytes = 1024;     ///< of the (longest) text
  double deletion = 0.0;  ///< share of the tokens deleted at the gate, in [0, 1]; 0: the gate is not asked
  int threads = 1;
  Weights weights = Weights::f32;
  std::uint64_t seed = 1;

  bool operator==(const Job&) const = default;
};

/// What one repetition of a job did, and what the cost model says it needs.
struct Account {
  double flops = 0;         ///< of matrix products
  double bytes_read = 0;    ///< weights read again for every generated token; 0 where arithmetic is the limit
  double cached_bytes = 0;  ///< keys and values read while generating
  double bound_flops = 0;   ///< the products that no read of weights hides: all, or those that project the memory
  double text_bytes = 0;    ///< bytes of text that went in; generating: that came out
  double deletion_rate = 0;

  /// The least time in seconds on a machine of this peak [FLOP/s] and read bandwidth [bytes/s].
  double least_seconds(double peak, double bandwidth) const {
    const double read = bytes_read + cached_bytes;
    return bound_flops / peak + (read > 0 ? read / bandwidth : 0.0);
  }
};

/// A job made ready: `run` repeats what is measured and nothing else.
class Work {
 public:
  /// @throws std::invalid_argument if the job cannot be: no bytes, a rate outside [0, 1], no threads, deletion while
  /// training, training in bf16
  Work(const Job& job, ModelShelf& shelf);
  ~Work();

  static std::vector<Index> source_lengths(const Job& job);
  static std::vector<Index> target_lengths(const Job& job);

  const Job& job() const;

  void run();

  /// @pre the job has run once
  Account account() const;

 private:
  struct State;  // keeps the model out of the programs: it takes a minute to compile

  std::unique_ptr<State> state_;
};

}  // namespace merganser::bench
