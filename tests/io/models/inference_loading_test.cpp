// Models loaded for inference: their bits, their memory, their errors.
#include <merganser/io/models/inference_loading.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <merganser/io/models/model_directory.hpp>
#include <merganser/models/generation.hpp>

#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/laws.hpp"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace inference_loading_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using models::EncoderDecoder;
using Model = EncoderDecoder<float>;

Model random_model(models::Head head = models::Head::untied, nn::Activation activation = nn::Activation::gated_gelu) {
  Design<Model> design;
  design.vocabulary = 37;
  design.encoder = small_stack();
  design.encoder.activation = activation;
  design.decoder_blocks = 3;
  design.head = head;
  design.gates.push_back(gate_at(1));
  Model model = design.make();
  fill_model(model, 1);
  return model;
}

using TypeOf = std::function<DataType(const std::string&)>;

/// A directory whose tensors have each an element type of its own.
void save(Model model, const std::filesystem::path& directory, const TypeOf& type_of) {
  save_model(model, directory);
  SafetensorsWriter writer;
  for (const auto& view : parameter_views(model)) writer.add(view.name, view, type_of(view.name));
  writer.write(directory / "model.safetensors");
}

TypeOf all_of(DataType type) {
  return [type](const std::string&) { return type; };
}

template <Real Scalar>
Matrix<Scalar> logits_of(const EncoderDecoder<Scalar>& model, merge::DeletionMode mode) {
  typename EncoderDecoder<Scalar>::ForwardOptions options;
  options.deletion = deletion(mode);
  const Index vocabulary = model.config().vocabulary;
  return model
      .forward_targets(random_tokens({30, 1, 17, 0}, vocabulary, 2), random_tokens({2, 4, 1, 3}, vocabulary, 3),
                       options)
      .logits;
}

template <Real Scalar>
void require_same_results(const EncoderDecoder<Scalar>& one, const EncoderDecoder<Scalar>& other) {
  for (const auto mode : {merge::DeletionMode::none, merge::DeletionMode::soft, merge::DeletionMode::hard})
    REQUIRE(identical(logits_of(one, mode), logits_of(other, mode)));
  const TokenBatch source = random_tokens({9, 3}, one.config().vocabulary, 4);
  models::GenerationOptions options;
  options.max_length = 5;
  REQUIRE(models::generate(one, source, options).ids.ids == models::generate(other, source, options).ids.ids);
}

std::size_t weight_bytes(const nn::MultiHeadAttention<float>& attention) {
  return attention.q.weight.bytes() + attention.k.weight.bytes() + attention.v.weight.bytes() +
         attention.o.weight.bytes();
}

/// Memory of everything that is packed.
std::size_t weight_bytes(const Model& model) {
  std::size_t bytes = model.lm_head.weight.bytes();
  for (const auto& block : model.encoder.blocks)
    bytes += weight_bytes(block.attention) + block.feed_forward.weight_bytes();
  for (const auto& block : model.decoder.blocks)
    bytes +=
        weight_bytes(block.self_attention) + weight_bytes(block.cross_attention) + block.feed_forward.weight_bytes();
  return bytes;
}

/// Both ways of loading say the same of a damaged directory.
std::string error_of(const std::filesystem::path& directory) {
  const std::string error = io_error([&] { load_for_inference<float>(directory); });
  CHECK(error == io_error([&] { load_model<float>(directory); }));
  return error;
}

TEST_CASE("a model loaded for inference has the bits of the trainable one and the precision of its file",
          "[inference_loading]") {
  const TemporaryDirectory directory;
  for (const models::Head head : {models::Head::untied, models::Head::tied})
    for (const nn::Activation activation : {nn::Activation::gated_gelu, nn::Activation::relu})
      for (const DataType type : {DataType::f64, DataType::f32, DataType::f16, DataType::bf16}) {
        CAPTURE(name_of(type), head == models::Head::tied, activation == nn::Activation::relu);
        Model model = random_model(head, activation);
        model.decoder.blocks[2].cross_attention.q.weight.matrix() *= 0x1p-20F;  // halves below the normal ones
        save(model, directory.path(), all_of(type));
        const Model packed = load_for_inference<float>(directory.path());
        const Model trainable = load_model<float>(directory.path());
        require_same_results(packed, trainable);

        Model expected = trainable;
        expected.prepare_for_inference(io::detail::packed_precision<float>(type, NonFinite::refuse));
        CHECK(weight_bytes(packed) == weight_bytes(expected));
        Model full = trainable;
        full.prepare_for_inference();
        const std::size_t factor = size_of(type) == 2 ? 2 : 1;
        CHECK(weight_bytes(packed) * factor == weight_bytes(full));
      }
}

TEST_CASE("shards, memory and aliases load for inference as well", "[inference_loading]") {
  const TemporaryDirectory directory;
  const Model model = random_model(models::Head::tied);
  save_model(model, directory.path(), {DataType::bf16, 3000});
  REQUIRE(std::filesystem::exists(directory / "model.safetensors.index.json"));
  const Model trainable = load_model<float>(directory.path());
  LoadModelOptions options;
  for (const Mapping mapping : {Mapping::mapped, Mapping::in_memory}) {
    options.mapping = mapping;
    require_same_results(load_for_inference<float>(directory.path(), options), trainable);
  }
  const ModelFiles files = open_model_files(directory.path());
  require_same_results(load_for_inference<float>(files), trainable);

  Model other = model;
  SafetensorsWriter writer;
  for (const auto& view : parameter_views(other))
    writer.add(view.name == "shared.weight" ? "lm_head.weight" : view.name, view, DataType::bf16);
  writer.write(directory / "model.safetensors");
  const Model renamed = load_for_inference<float>(directory.path());
  require_same_results(renamed, trainable);
  CHECK(renamed.lm_head.weight.bytes() < static_cast<std::size_t>(renamed.shared.weight.size()) * sizeof(float));
}

TEST_CASE("every tensor keeps its own precision, but the inner maps of a feed-forward share one",
          "[inference_loading]") {
  const TemporaryDirectory directory;
  const auto in_full = [](const std::string& name) {
    return name.ends_with("wo.weight") || name == "encoder.block.0.layer.1.DenseReluDense.wi_1.weight";
  };
  save(random_model(), directory.path(),
       [&](const std::string& name) { return in_full(name) ? DataType::f32 : DataType::bf16; });
  const Model packed = load_for_inference<float>(directory.path());
  Model trainable = load_model<float>(directory.path());
  require_same_results(packed, trainable);

  const auto& first = packed.encoder.blocks[0].feed_forward;
  const auto& second = packed.encoder.blocks[1].feed_forward;
  auto full = trainable.encoder.blocks[0].feed_forward;
  full.prepare_for_inference(kernels::Precision::full);
  CHECK(first.weight_bytes() == full.weight_bytes());
  CHECK(first.wo.weight.bytes() == second.wo.weight.bytes());
  CHECK(first.weight_bytes() - first.wo.weight.bytes() == 2 * (second.weight_bytes() - second.wo.weight.bytes()));
}

TEST_CASE("a model in double keeps doubles, and one in float rounds them", "[inference_loading]") {
  const TemporaryDirectory directory;
  for (const DataType type : {DataType::f64, DataType::f16, DataType::bf16}) {
    save(random_model(), directory.path(), all_of(type));
    require_same_results(load_for_inference<double>(directory.path()), load_model<double>(directory.path()));
  }
  EncoderDecoder<double>::Config config;
  config.vocabulary = 11;
  config.encoder = tiny_stack();
  EncoderDecoder<double> model(config);
  fill_model(model, 1);
  save_model(model, directory.path());
  require_same_results(load_for_inference<double>(directory.path()), model);
  require_same_results(load_for_inference<float>(directory.path()), load_model<float>(directory.path()));
}

TEST_CASE("a pooling's weights are parameters as ever", "[inference_loading]") {
  const TemporaryDirectory directory;
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided}) {
    Design<Model> design{random_model().config(), {}, PoolingConfig{.block = 1, .kind = kind}};
    Model model = design.make();
    fill_model(model, 1);
    save_model(model, directory.path());
    const Model packed = load_for_inference<float>(directory.path());
    REQUIRE(identical(logits_of(packed, merge::DeletionMode::none), logits_of(model, merge::DeletionMode::none)));
  }
}

TEST_CASE("damaged weights are the same errors as for training", "[inference_loading]") {
  const TemporaryDirectory directory;
  Model model = random_model();
  const auto write = [&](const std::function<void(SafetensorsWriter&, ParameterView<float>)>& add) {
    save_model(model, directory.path());
    SafetensorsWriter writer;
    for (const auto& view : parameter_views(model)) add(writer, view);
    writer.write(directory / "model.safetensors");
  };
  const std::string query = "encoder.block.1.layer.0.SelfAttention.q.weight";
  const std::string gate = "decoder.block.0.layer.2.DenseReluDense.wi_1.weight";
  for (const std::string& name : {query, gate, std::string("lm_head.weight"), std::string("shared.weight")}) {
    CAPTURE(name);
    write([&](SafetensorsWriter& writer, const ParameterView<float>& view) {
      if (view.name != name) writer.add(view.name, view);
    });
    CHECK_THAT(error_of(directory.path()), ContainsSubstring(name + ": got no such tensor"));
    write([&](SafetensorsWriter& writer, ParameterView<float> view) {
      if (view.name == name) std::swap(view.rows, view.cols);
      writer.add(view.name, view);
    });
    CHECK_THAT(error_of(directory.path()), ContainsSubstring(name + ": got shape ["));
  }
  write([&](SafetensorsWriter& writer, const ParameterView<float>& view) {
    writer.add(view.name, view);
    if (view.name == query) writer.add("encoder.block.1.layer.0.SelfAttention.q.bias", view);
  });
  CHECK_THAT(error_of(directory.path()), ContainsSubstring("SelfAttention.q.bias: got an unknown tensor"));
}

TEST_CASE("numbers that are not finite are refused, or come as they are", "[inference_loading]") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const TemporaryDirectory directory;
  LoadModelOptions accept;
  accept.non_finite = NonFinite::accept;
  for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16}) {
    CAPTURE(name_of(type));
    Model model = random_model();
    model.decoder.blocks[1].feed_forward.wi_gate.weight.matrix()(2, 3) = -infinity;
    model.lm_head.weight.matrix()(36, 19) = infinity;
    model.lm_head.weight.matrix()(0, 0) = std::numeric_limits<float>::quiet_NaN();
    model.lm_head.weight.matrix()(5, 0) = infinity;
    save(model, directory.path(), all_of(type));
    CHECK_THAT(io_error([&] { load_for_inference<float>(directory.path()); }),
               ContainsSubstring(": got -inf at [2, 3]") || ContainsSubstring("lm_head.weight: got nan at [0, 0]"));
    const Model packed = load_for_inference<float>(directory.path(), accept);
    const Model trainable = load_model<float>(directory.path(), accept);
    const Matrix<float> got = logits_of(packed, merge::DeletionMode::none);
    const Matrix<float> expected = logits_of(trainable, merge::DeletionMode::none);
    REQUIRE(got.rows() == expected.rows());
    for (Index i = 0; i < got.size(); ++i) {
      const float one = got.data()[i], other = expected.data()[i];
      REQUIRE((one == other || (one != one && other != other)));
    }
  }
  // 16 bits hold 65504, a double more than a float.
  Model model = random_model();
  save(model, directory.path(), all_of(DataType::f64));
  EncoderDecoder<double> wide = load_model<double>(directory.path());
  wide.encoder.blocks[0].attention.v.weight.matrix()(1, 2) = 1e39;
  save_model(wide, directory.path());
  CHECK_THAT(error_of(directory.path()),
             ContainsSubstring("SelfAttention.v.weight: got inf at [1, 2], expected numbers that are finite as float"));
  CHECK_NOTHROW(load_for_inference<double>(directory.path()));
}

TEST_CASE("a model loaded for inference is no longer trained or saved, and moves", "[inference_loading]") {
  const TemporaryDirectory directory;
  const Model model = random_model();
  save_model(model, directory / "model");
  Model packed = load_for_inference<float>(directory / "model");
  CHECK_THROWS_AS(parameter_count(packed), std::invalid_argument);
  CHECK_THROWS_AS(save_model(packed, directory / "copy"), std::invalid_argument);
  CHECK_FALSE(std::filesystem::exists(directory / "copy"));
  const Model copy = packed;
  const Model moved = std::move(packed);
  require_same_results(moved, model);
  require_same_results(copy, model);
}

TEST_CASE("a model without its weights cannot run or be saved", "[inference_loading]") {
  const TemporaryDirectory directory;
  const Model whole = random_model();
  Model absent(whole.config(), whole.encoder.policies, nn::Weights::absent);
  CHECK(weight_bytes(absent) == 0);
  CHECK_THROWS_AS(parameter_views(absent), std::invalid_argument);
  CHECK_THROWS_AS(save_model(absent, directory / "copy"), std::invalid_argument);
  CHECK_THROWS_AS(logits_of(absent, merge::DeletionMode::none), std::invalid_argument);
  absent.prepare_for_inference();
  CHECK_THROWS_AS(logits_of(absent, merge::DeletionMode::none), std::invalid_argument);
}

// Sanitizers hold on to memory that was freed.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MERGANSER_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MERGANSER_TEST_SANITIZED
#endif
#endif

#if defined(__linux__) && !defined(MERGANSER_TEST_SANITIZED)

/// Bytes that a line of /proc/self/status says; 0 if it does not.
double status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == key + ":") {
      double kibibytes = 0;
      status >> kibibytes;
      return kibibytes * 1024;
    }
  return 0;
}

/// How far the resident memory of a process of its own rises above where it starts. -1 if it fails. It loads a small
/// model before, because code that runs for the first time takes memory, too; and what the reserve and malloc keep of
/// this process is given back, because it would be taken again unseen.
double peak_of_loading(const std::filesystem::path& small, const std::filesystem::path& directory) {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  const pid_t child = ::fork();
  if (child == 0) {
    load_for_inference<float>(small);
    MemoryReserve::clear();
#if defined(__GLIBC__)
    ::malloc_trim(0);
#endif
    const double before = status_bytes("VmRSS");
    double rise = -1;
    try {
      const Model model = load_for_inference<float>(directory);
      rise = status_bytes("VmHWM") - before;
    } catch (...) {
    }
    ::_exit(::write(ends[1], &rise, sizeof rise) == sizeof rise ? 0 : 1);
  }
  ::close(ends[1]);
  double rise = -1;
  const bool read = ::read(ends[0], &rise, sizeof rise) == sizeof rise;
  ::close(ends[0]);
  int status = 0;
  return ::waitpid(child, &status, 0) == child && status == 0 && read ? rise : -1;
}

TEST_CASE("loading a mapped model takes little more memory than its files have bytes", "[inference_loading]") {
  if (status_bytes("VmHWM") == 0) return;  // not a full Linux
  Model::Config config;
  config.vocabulary = 32;
  config.encoder.width = 256;
  config.encoder.feed_forward_width = 512;
  config.encoder.blocks = 12;
  config.decoder_blocks = 4;
  Model model(config);
  for (const auto& view : parameter_views(model)) view.array().setConstant(0.125F);
  const auto numbers = static_cast<double>(parameter_count(model));
  for (const auto& format :
       {WeightFormat{DataType::f32, {}}, WeightFormat{DataType::f16, {}}, WeightFormat{DataType::bf16, 3'000'000}}) {
    const TemporaryDirectory directory;
    save_model(model, directory.path(), format);
    save_model(random_model(), directory / "small", {*format.dtype, {}});
    const double bytes = numbers * static_cast<double>(size_of(*format.dtype));
    const double rise = peak_of_loading(directory / "small", directory.path());
    CAPTURE(name_of(*format.dtype), bytes, rise / bytes);
    CHECK(rise > 0.5 * bytes);
    CHECK(rise < 1.1 * bytes);
  }
}

#endif

}  // namespace inference_loading_test
