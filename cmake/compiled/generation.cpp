// Generation, for merganser::compiled.
#include <merganser/models/beam_search.hpp>
#include <merganser/models/generation.hpp>

namespace merganser::inline MERGANSER_ISA::models {

using ForwardOptions = EncoderDecoder<float>::ForwardOptions;

template Generation<float> generate<float, EncoderOutput<float>>(const EncoderDecoder<float>&, EncoderOutput<float>,
                                                                 const GenerationOptions&);
template Generation<float> generate<float>(const EncoderDecoder<float>&, const TokenBatch&, const GenerationOptions&,
                                           const ForwardOptions&);
template BeamSearchResult<float> beam_search<float, EncoderOutput<float>>(const EncoderDecoder<float>&,
                                                                          EncoderOutput<float>,
                                                                          const BeamSearchOptions&);
template BeamSearchResult<float> beam_search<float>(const EncoderDecoder<float>&, const TokenBatch&,
                                                    const BeamSearchOptions&, const ForwardOptions&);

}  // namespace merganser::models
