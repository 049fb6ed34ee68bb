// The models of a curve, compiled once, in models.cpp.
#pragma once

#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sequence_classifier.hpp>

extern template class merganser::models::Encoder<float>;
extern template class merganser::models::Decoder<float>;
extern template class merganser::models::EncoderDecoder<float>;
extern template class merganser::models::SequenceClassifier<float>;
