// Any config.json and any weights as a model, to train and to run. The input: the config, a zero byte, the header of
// the weights, a zero byte, their data.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <merganser/core/parameter.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/io/models/model_files.hpp>
#include <merganser/models/generation.hpp>

#include "safetensors_checks.hpp"

namespace merganser::fuzz {

namespace {

/// Also of NaN, which finite weights can make.
bool same_bits(const Matrix<float>& one, const Matrix<float>& other) {
  if (one.rows() != other.rows() || one.cols() != other.cols()) return false;
  for (Index i = 0; i < one.size(); ++i) {
    const float a = one.data()[i], b = other.data()[i];
    if (std::isnan(a) ? !std::isnan(b) : std::bit_cast<std::uint32_t>(a) != std::bit_cast<std::uint32_t>(b))
      return false;
  }
  return true;
}

}  // namespace

void run(std::string_view input) {
  const std::string_view config = take_until(input, '\0'), header = take_until(input, '\0');
  io::ModelFiles files;
  files.config = config;
  files.weights.emplace(io::weights_file_name, io::FileBytes::owned(safetensors_file(header, input)));
  using Model = models::EncoderDecoder<float>;
  auto model = unless_refused([&] { return io::load_model<float>(files); });
  const auto packed = unless_refused([&] { return io::load_for_inference<float>(files); });
  require(model.has_value() == packed.has_value(), "both ways of loading take the same files");
  if (!model) return;
  require(all_finite(*model), "weights are finite");

  // A model that was loaded runs: three tokens at most, as there may be so few positions.
  const Model::Config& sizes = model->config();
  const bool few = sizes.encoder.positions == models::PositionScheme::absolute;
  const Index length = few ? std::min<Index>(3, sizes.encoder.max_positions) : 3;
  TokenBatch source;
  std::vector<TokenId> ids;
  for (Index i = 1; i <= length; ++i) ids.push_back(static_cast<TokenId>(i % sizes.vocabulary));
  source.push_back(ids);
  source.push_back({});
  Rng rng(1);
  Model::ForwardOptions options;
  options.rng = &rng;
  for (const auto mode : {merge::DeletionMode::none, merge::DeletionMode::soft, merge::DeletionMode::hard}) {
    options.deletion = merge::DeletionOptions::with_mode(mode);
    models::GenerationOptions generation;
    generation.max_length = length;
    // Finite weights can be so large that what is made of them is no number, and that is said.
    const auto write = [&](const Model& with) -> std::optional<models::Generation<float>> {
      rng = Rng(1);
      try {
        return models::generate(with, source, generation, options);
      } catch (const std::invalid_argument& error) {
        require(std::string_view(error.what()).starts_with("generate: logits: got"), "logits alone are refused");
        return std::nullopt;
      }
    };
    const auto packed_wrote = write(*packed), trainable_wrote = write(*model);
    require(packed_wrote.has_value() == trainable_wrote.has_value(), "both write, or neither");
    if (!packed_wrote) continue;
    const models::Generation<float>&written = *packed_wrote, &trainable = *trainable_wrote;
    require(written.ids.count() == 2, "an answer a sequence");
    for (const TokenId id : written.ids.ids) require(id >= 0 && id < sizes.vocabulary, "ids of the vocabulary");
    require(written.encoded.hidden.offsets.length(0) >= 1, "a sequence keeps a token");
    require(written.encoded.hidden.offsets.length(1) == 0, "nothing comes from nothing");
    require(written.ids.ids == trainable.ids.ids, "both write the same");
    require(same_bits(written.encoded.hidden.values, trainable.encoded.hidden.values), "both encode to the same bits");
  }
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
