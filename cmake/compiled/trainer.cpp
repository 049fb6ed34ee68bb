// The trainer of models, for merganser::compiled.
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/training/trainer.hpp>

template class merganser::training::Trainer<merganser::models::EncoderDecoder<float>>;
