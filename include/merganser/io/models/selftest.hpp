// Writing down what a model makes of some inputs, and finding out later whether it still does.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/models/selftest_file.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/generation.hpp>
#include <merganser/models/sampling.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// What a model is asked in a self-test.
struct SelftestInput {
  std::vector<TokenId> source;
  merge::DeletionMode mode = merge::DeletionMode::hard;
};

namespace detail {

/// Gate values and logits that lie nearer to each other than this may change places on another machine.
inline constexpr double selftest_doubt = 1e-2;

template <Real Scalar>
models::Generation<Scalar> generate_greedily(const models::EncoderDecoder<Scalar>& model, const SelftestInput& input,
                                             Index max_length, std::uint64_t seed) {
  TokenBatch source;
  source.push_back(input.source);
  Rng rng(seed);
  typename models::EncoderDecoder<Scalar>::ForwardOptions options;
  options.deletion = merge::DeletionOptions::with_mode(input.mode);
  options.rng = &rng;
  models::GenerationOptions generation;
  generation.max_length = max_length;
  generation.step_logits = models::StepLogits::kept;
  return models::generate(model, source, generation, options);
}

template <Real Scalar>
Matrix<Scalar> logits_behind(const models::EncoderDecoder<Scalar>& model, const models::Generation<Scalar>& generation,
                             const std::vector<TokenId>& target) {
  TokenBatch read;
  read.push_back(target);
  return model.decode(read, generation.encoded);
}

/// How far the gates are from keeping other tokens.
template <Real Scalar>
double keeping_margin(const models::Generation<Scalar>& generation) {
  double margin = std::numeric_limits<double>::infinity();
  for (const merge::PolicyReport<Scalar>& report : generation.encoded.reports) {
    if (!report.is_gate) continue;
    std::vector<double> values(report.scores.begin(), report.scores.end());
    std::sort(values.rbegin(), values.rend());
    for (const double value : values) margin = std::min(margin, std::abs(value - report.threshold));
    // Nothing above the threshold: the best one stays.
    if (values.size() >= 2 && values[0] <= report.threshold) margin = std::min(margin, values[0] - values[1]);
  }
  return margin;
}

/// How far a row of logits is from another choice, relative to max(1, |largest|).
template <Real Scalar>
double choice_margin(const models::LogitRow<Scalar>& logits) {
  if (logits.size() < 2) return std::numeric_limits<double>::infinity();
  std::vector<double> values(logits.begin(), logits.end());
  std::partial_sort(values.begin(), values.begin() + 2, values.end(), std::greater<>());
  return (values[0] - values[1]) / std::max(1.0, std::abs(values[0]));
}

inline SelftestLogits stored_logits(Index position, std::vector<double> values) {
  // Six digits are more than the tolerance asks for, and a third of the file.
  constexpr double digits = 1e5;
  for (double& value : values) value = std::round(value * digits) / digits;
  return {position, std::move(values)};
}

/// "[3] = 17 of 20": where two lists first differ.
template <class Value>
std::string entry_text(std::span<const Value> list, std::size_t at) {
  const std::string size = std::to_string(list.size());
  return at < list.size() ? "[" + std::to_string(at) + "] = " + std::to_string(list[at]) + " of " + size
                          : size + " in all";
}

template <class Value>
void require_same_list(const std::string& file, const std::string& field, std::span<const Value> got,
                       std::span<const Value> expected) {
  if (std::equal(got.begin(), got.end(), expected.begin(), expected.end())) return;
  const auto differ = std::mismatch(got.begin(), got.end(), expected.begin(), expected.end()).first;
  const auto at = static_cast<std::size_t>(differ - got.begin());
  throw IoError(file, field, entry_text(got, at), entry_text(expected, at));
}

template <Real Scalar>
void require_near(const std::string& file, const std::string& field, const models::LogitRow<Scalar>& got,
                  const SelftestLogits& expected, double tolerance) {
  for (std::size_t id = 0; id < expected.values.size(); ++id) {
    const double value = expected.values[id], found = static_cast<double>(got[static_cast<Index>(id)]);
    const double allowed = tolerance * std::max(1.0, std::abs(value));
    if (std::abs(found - value) <= allowed) continue;
    throw IoError(file, field + " of id " + std::to_string(id), found, to_text(value) + " within " + to_text(allowed));
  }
}

template <Real Scalar>
void check_selftest_case(const models::EncoderDecoder<Scalar>& model, const SelftestCase& expected, double tolerance,
                         std::uint64_t seed, const std::string& file, const std::string& field) {
  const Index vocabulary = model.config().vocabulary;
  for (const auto* ids : {&expected.source, &expected.target})
    for (const TokenId id : *ids)
      if (id >= vocabulary)
        throw IoError(file, field + (ids == &expected.source ? ".source" : ".target"), "id " + std::to_string(id),
                      "ids below " + std::to_string(vocabulary) + ", the vocabulary of the model");
  const models::Generation<Scalar> generation =
      generate_greedily(model, {expected.source, expected.mode}, std::ssize(expected.target), seed);
  require_same_list<Position>(file, field + ".kept", generation.encoded.hidden.positions, expected.kept);
  const Matrix<Scalar> logits = logits_behind(model, generation, expected.target);
  for (const SelftestLogits& row : expected.logits) {
    const std::string place = field + ".logits at position " + std::to_string(row.position);
    if (std::cmp_greater(row.values.size(), vocabulary))
      throw IoError(file, place, std::to_string(row.values.size()) + " numbers",
                    "at most " + std::to_string(vocabulary) + ", the vocabulary of the model");
    require_near<Scalar>(file, place, logits.row(row.position), row, tolerance);
  }
  const auto ids = generation.ids.sequence(0);
  require_same_list<TokenId>(file, field + ".target", ids, expected.target);
}

}  // namespace detail

/// Writes down what a model makes of some inputs: which positions it keeps, the logits behind the first and the last
/// token of its greedy answer (of the first 512 ids), and the answer itself, up to `max_length` tokens.
///
/// Another machine sums in another order. So an answer is cut where two tokens are nearly as good, and an input is left
/// out where a gate can hardly decide: the result may have fewer cases than there are inputs.
/// @throws std::invalid_argument if max_length is below 1, the model cannot read an input or its logits are not finite
template <Real Scalar>
Selftest make_selftest(const models::EncoderDecoder<Scalar>& model, std::span<const SelftestInput> inputs,
                       Index max_length = 32) {
  constexpr Index most_ids = 512;
  Selftest selftest;
  for (const SelftestInput& input : inputs) {
    for (const TokenId id : input.source)
      check_argument(id >= 0 && id < model.config().vocabulary, "make_selftest", "source", id,
                     "ids below " + std::to_string(model.config().vocabulary));
    const auto generation = detail::generate_greedily(model, input, max_length, selftest.seed);
    if (input.mode == merge::DeletionMode::hard && detail::keeping_margin(generation) < detail::selftest_doubt)
      continue;
    SelftestCase& made = selftest.cases.emplace_back();
    made.source = input.source;
    made.mode = input.mode;
    made.kept.assign(generation.encoded.hidden.positions.begin(), generation.encoded.hidden.positions.end());
    made.target = {generation.ids.ids.front()};
    for (Index step = 0; step < generation.step_logits.size(); ++step) {
      if (!(detail::choice_margin<Scalar>(generation.step_logits[step].row(0)) > detail::selftest_doubt)) break;
      made.target.push_back(generation.ids.ids[step + 1]);
    }
    const Matrix<Scalar> logits = detail::logits_behind(model, generation, made.target);
    check_argument(logits.allFinite(), "make_selftest", "model", "logits that are not finite", "finite logits");
    const Index last = logits.rows() - 1, width = std::min(most_ids, logits.cols());
    for (const Index position : last == 0 ? std::vector<Index>{0} : std::vector<Index>{0, last}) {
      const auto row = logits.row(position).head(width);
      made.logits.push_back(detail::stored_logits(position, {row.begin(), row.end()}));
    }
  }
  return selftest;
}

/// Replays a self-test. `file_name` stands for it in errors.
/// @throws IoError if the model makes something else of a case; it names the case and the quantity, and says what was
/// got and expected
template <Real Scalar>
void check_selftest(const models::EncoderDecoder<Scalar>& model, const Selftest& selftest,
                    const std::string& file_name) {
  for (std::size_t i = 0; i < selftest.cases.size(); ++i) {
    const std::string field = "cases[" + std::to_string(i) + "]";
    try {
      detail::check_selftest_case(model, selftest.cases[i], selftest.tolerance, selftest.seed, file_name, field);
    } catch (const std::invalid_argument& error) {
      throw IoError(file_name, field, error.what(), "an input that the model reads");
    }
  }
}

/// Replays `directory`/selftest.json, which `write_selftest` has written for the model in the directory.
/// @return the number of cases
/// @throws IoError as `read_selftest` and the replay
template <Real Scalar>
std::size_t check_selftest(const models::EncoderDecoder<Scalar>& model, const std::filesystem::path& directory) {
  const Selftest selftest = read_selftest(directory);
  check_selftest(model, selftest, (directory / selftest_file_name).string());
  return selftest.cases.size();
}

/// Writes `directory`/selftest.json. Weights that were rounded when they were saved answer a little differently: make
/// the self-test from the model that was loaded.
/// @throws IoError if it cannot be written
/// @throws std::invalid_argument if a field is out of its range
inline void write_selftest(const Selftest& selftest, const std::filesystem::path& directory) {
  write_file_atomically(directory / selftest_file_name, to_json(selftest));
}

}  // namespace merganser::io
