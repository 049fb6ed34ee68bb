// Models, for merganser::compiled: what the headers declare there, defined.
#include <merganser/models/decoder.hpp>
#include <merganser/models/encoder.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::models {

template class Encoder<float>;
template class Decoder<float>;
template class EncoderDecoder<float>;

}  // namespace merganser::models
