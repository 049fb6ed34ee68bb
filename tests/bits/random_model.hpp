// A whole model of a random shape.
#pragma once

#include <merganser/models/encoder_decoder.hpp>

#include "bits/random_shapes.hpp"

namespace merganser::testing {

template <Real Scalar>
models::EncoderDecoder<Scalar> random_model(bool gated, Rng& rng) {
  Design<models::EncoderDecoder<Scalar>> config;
  config.vocabulary = 60;
  config.encoder = random_stack(rng);
  config.decoder_blocks = 1;
  if (gated) config.gates = {gate_at(1)};
  models::EncoderDecoder<Scalar> model = config.make();
  model.initialize(rng);
  return model;
}

}  // namespace merganser::testing
