// A model that begins with the weights of another: with a gate in place of none, without one, or as a classifier.
#pragma once

#include <algorithm>
#include <concepts>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/placement.hpp>
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

/// The names of a policy's tensors, wherever it stands.
template <Real Scalar>
Vector<std::string> tensors_of(merge::Policy<Scalar>& policy) {
  Vector<std::string> names;
  for (const auto& view : parameter_views(policy)) names.push_back(view.name);
  return names;
}

/// Takes out the policies that the other encoder has no like of at their place.
template <Real Scalar>
void leave_behind(Encoder<Scalar>& encoder, Encoder<Scalar>& other) {
  const auto alike = [](merge::Placement<Scalar>& a, merge::Placement<Scalar>& b) {
    return a.block == b.block && a.site == b.site && tensors_of(a.policy) == tensors_of(b.policy);
  };
  auto& policies = encoder.policies;
  policies.erase(std::remove_if(policies.begin(), policies.end(),
                                [&](auto& policy) {
                                  return std::none_of(other.policies.begin(), other.policies.end(),
                                                      [&](auto& place) { return alike(policy, place); });
                                }),
                 policies.end());
}

/// Copies what is no policy's, and the policies that are alike.
template <class From, class To>
void copy_all_but_shortening(From& from, To& to) {
  leave_behind(from.encoder, to.encoder);
  Vector<std::string> optional;  // tensors of policies, which may begin as they are
  for (auto& placement : to.encoder.policies)
    for (const auto& name : tensors_of(placement.policy)) optional.push_back("." + name);
  for (const std::string& name : copy_parameters(from, to))
    check_argument(std::any_of(optional.begin(), optional.end(),
                               [&](const std::string& tensor) { return name.ends_with(tensor); }),
                   "warm_start", name, "no such tensor to start from", "all but those of policies");
}

}  // namespace detail

/// Gives a model the weights of a trained one. A policy that the trained one lacks, or has at another place or
/// of another kind, stays as it is; one that the model has no place for is left out. Models of two kinds, such as a
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
