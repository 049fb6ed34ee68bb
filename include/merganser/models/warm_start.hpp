// A model that begins with the weights of another: with a gate in place of none, without one, or as a classifier.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/models/encoder.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include <merganser/nn/embedding.hpp>

namespace merganser::inline MERGANSER_ISA::models {

namespace detail {

/// What models of every kind have: embedding and encoder, named as in an EncoderDecoder.
template <Real Scalar>
struct Reader {
  using ScalarType = Scalar;

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    embedding.visit(visitor, prefix + "shared.");
    encoder.visit(visitor, prefix + "encoder.");
  }

  nn::Embedding<Scalar>& embedding;
  Encoder<Scalar>& encoder;
};

template <Real Scalar>
Reader<Scalar> reader_of(EncoderDecoder<Scalar>& model) {
  return {model.shared, model.encoder};
}

template <Real Scalar>
Reader<Scalar> reader_of(SequenceClassifier<Scalar>& model) {
  return {model.embedding, model.encoder};
}

/// A parameter of a part that shortens sequences, of a gate or a pooling.
inline bool shortens(const std::string& parameter) {
  constexpr std::array parts = {".delete_gate.", ".boundary_predictor.", ".downsampling_module.", ".down_ln."};
  return std::any_of(parts.begin(), parts.end(),
                     [&](const char* part) { return parameter.find(part) != std::string::npos; });
}

/// Takes out the gates and the pooling that the other encoder has no place for.
template <Real Scalar>
void leave_behind(Encoder<Scalar>& encoder, const Encoder<Scalar>& other) {
  const auto same = [](const auto& a, const auto& b) {
    return a.config().block == b.config().block && a.config().kind == b.config().kind;
  };
  auto& gates = encoder.gates;
  gates.erase(std::remove_if(gates.begin(), gates.end(),
                             [&](const auto& gate) {
                               return std::none_of(other.gates.begin(), other.gates.end(),
                                                   [&](const auto& place) { return same(gate, place); });
                             }),
              gates.end());
  if (encoder.pooling && !(other.pooling && same(*encoder.pooling, *other.pooling))) encoder.pooling.reset();
}

template <class From, class To>
void copy_all_but_shortening(From& from, To& to) {
  leave_behind(from.encoder, to.encoder);
  for (const std::string& name : copy_parameters(from, to))
    check_argument(shortens(name), "warm_start", name, "no such tensor to start from",
                   "all but those of gates and poolings");
}

}  // namespace detail

/// Gives a model the weights of a trained one. A gate or a pooling that the trained one lacks, or has at another block
/// or of another kind, stays as it is; one that the model has no place for is left out. Models of two kinds, such as a
/// classifier and an EncoderDecoder, have only embedding and encoder in common.
/// @param trained is taken apart
/// @throws std::invalid_argument if the two are of different sizes; the model may have part of the weights then
template <class Model, class Trained>
void warm_start(Model& model, Trained trained) {
  if constexpr (std::same_as<Model, Trained>) {
    detail::copy_all_but_shortening(trained, model);
  } else {
    auto from = detail::reader_of(trained), to = detail::reader_of(model);
    detail::copy_all_but_shortening(from, to);
  }
}

}  // namespace merganser::models
