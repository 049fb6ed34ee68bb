// Model directories, for merganser::compiled.
#include <merganser/io/models/model_directory.hpp>

namespace merganser::inline MERGANSER_ISA::io {

using Model = models::EncoderDecoder<float>;
using Path = std::filesystem::path;

template Model load_model<float>(const ModelFiles&, const LoadModelOptions&);
template Model load_model<float>(const Path&, const LoadModelOptions&);
template Model load_for_inference<float>(const ModelFiles&, const LoadModelOptions&);
template Model load_for_inference<float>(const Path&, const LoadModelOptions&);
template void save_model<float>(const Model&, const Path&, const WeightFormat&, const ModelExtras&);

}  // namespace merganser::io
