// The two models that every figure is about, with random weights.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::bench {

using Model = models::EncoderDecoder<float>;

enum class Shape {
  small,  ///< ByT5-small: 12 + 4 blocks of width 1472
  demo,   ///< 6 + 2 blocks of width 256
};

/// How the weights of a model lie in memory; arithmetic is in float.
enum class Weights { f32, bf16 };

inline std::string name_of(Shape shape) { return shape == Shape::small ? "small" : "demo"; }
inline std::string name_of(Weights weights) { return weights == Weights::f32 ? "f32" : "bf16"; }

/// Both have heads of width 64, gated GELU, softmax1, 32 buckets to distance 128 and a gate on entry to block 3.
inline Model::Config model_config(Shape shape) {
  const bool small = shape == Shape::small;
  Model::Config config;
  config.vocabulary = 384;
  config.encoder.width = small ? 1472 : 256;
  config.encoder.heads = small ? 6 : 4;
  config.encoder.head_width = 64;
  config.encoder.feed_forward_width = small ? 3584 : 512;
  config.encoder.blocks = small ? 12 : 6;
  config.decoder_blocks = small ? 4 : 2;
  return config;
}

/// The block on entry to which the delete gate of both shapes stands.
inline constexpr Index gate_block = 3;

inline Vector<merge::Placement<float>> model_policies(const Model::Config& config) {
  return {merge::before_block(gate_block, merge::DeleteGate<float>({.width = config.encoder.width}))};
}

/// Uniform weights with the deviations of T5's initialisation; norms and biases stay as they are made. Ten times as
/// fast as normal numbers, of which ByT5-small has 300 million.
inline void fill_weights(Model& model, std::uint64_t seed) {
  Rng rng(seed);
  const auto head_width = static_cast<float>(model.config().encoder.head_width);
  model.visit(
      [&]<class Tensor>(const std::string& name, Tensor& tensor) {
        if (Tensor::RowsAtCompileTime == 1) return;
        const bool table = name.starts_with("shared.") || name.find("relative_attention_bias") != std::string::npos;
        float deviation = table ? 1.0f : 1.0f / std::sqrt(static_cast<float>(tensor.cols()));
        if (name.ends_with("Attention.q.weight")) deviation /= std::sqrt(head_width);
        const float half_width = std::sqrt(3.0f) * deviation;
        for (Index i = 0; i < tensor.size(); ++i)
          tensor.data()[i] = half_width * (static_cast<float>(rng.next() >> 40) * 0x1.0p-23f - 1.0f);
      },
      "");
}

/// A model to train, or to prepare for inference.
inline Model make_model(Shape shape, std::uint64_t seed = 1) {
  const Model::Config config = model_config(shape);
  Model model(config, model_policies(config));
  fill_weights(model, seed);
  return model;
}

/// Bytes of one weight.
inline double weight_bytes(Weights weights) { return weights == Weights::f32 ? 4 : 2; }

/// Sequences of random bytes.
inline TokenBatch random_text(const std::vector<Index>& lengths, std::uint64_t seed) {
  Rng rng(seed);
  TokenBatch batch;
  std::vector<TokenId> ids;
  for (const Index length : lengths) {
    ids.clear();
    for (Index t = 0; t < length; ++t) ids.push_back(static_cast<TokenId>(3 + rng.below(256)));
    batch.push_back(ids);
  }
  return batch;
}

/// Makes a model prepared for inference when it is first asked for, and keeps the last one, because the large one takes
/// seconds and 1.2 GB.
class ModelShelf {
 public:
  std::shared_ptr<const Model> get(Shape shape, Weights weights, std::uint64_t seed) {
    if (model_ && shape == shape_ && weights == weights_ && seed == seed_) return model_;
    model_.reset();
    Model model = make_model(shape, seed);
    model.prepare_for_inference(weights == Weights::f32 ? kernels::Precision::full : kernels::Precision::bfloat16);
    model_ = std::make_shared<const Model>(std::move(model));
    shape_ = shape;
    weights_ = weights;
    seed_ = seed;
    return model_;
  }

 private:
  std::shared_ptr<const Model> model_;
  Shape shape_ = Shape::demo;
  Weights weights_ = Weights::f32;
  std::uint64_t seed_ = 0;
};

}  // namespace merganser::bench
