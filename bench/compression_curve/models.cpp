// The models of a curve.
#include "models.hpp"

template class merganser::models::Encoder<float>;
template class merganser::models::Decoder<float>;
template class merganser::models::EncoderDecoder<float>;
template class merganser::models::SequenceClassifier<float>;
