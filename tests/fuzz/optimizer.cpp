// Any tensors as the optimizer.safetensors of a checkpoint. The input: the header, a zero byte, the data.
#include <cstring>
#include <string>

#include <merganser/core/parameter.hpp>
#include <merganser/io/checkpoints/checkpoint.hpp>
#include <merganser/nn/feed_forward.hpp>
#include <merganser/training/trainer_state.hpp>

#include "safetensors_checks.hpp"

namespace merganser::fuzz {

namespace {

/// Of a model of two tensors.
template <Real Scalar>
training::TrainerState<nn::FeedForward<Scalar>> small_state() {
  const nn::FeedForward<Scalar> layer({.width = 2, .hidden = 3, .activation = nn::Activation::relu});
  return {layer, layer};
}

/// Every bit of a moment is that of the file; returns its number of tensors.
template <class Layer>
std::size_t check_moment(Layer& moment, const io::SafetensorsFile& file, const std::string& prefix) {
  const auto views = parameter_views(moment, prefix);
  for (const auto& view : views) {
    const io::TensorInfo& tensor = file.tensor(view.name);
    require(tensor.shape == view.shape(), "a moment has the shape of its tensor");
    require(tensor.bytes.size() == static_cast<std::size_t>(view.size()) * sizeof(*view.data), "and its precision");
    require(std::memcmp(view.data, tensor.bytes.data(), tensor.bytes.size()) == 0, "moments come as they are");
  }
  return static_cast<std::size_t>(views.size());
}

template <Real Scalar>
bool check_optimizer(const io::SafetensorsFile& file) {
  auto state = small_state<Scalar>();
  const auto read = unless_refused([&] {
    io::detail::load_optimizer(state, file);
    return true;
  });
  if (!read) return false;
  require(state.updates >= 0, "updates are counted");
  const std::size_t tensors = check_moment(state.first_moment, file, "first_moment.") +
                              check_moment(state.second_moment, file, "second_moment.");
  require(file.names().size() == tensors + 1, "nothing else is in the file");
  require(file.integers("updates").front() == state.updates, "updates are those of the file");
  return true;
}

}  // namespace

void run(std::string_view input) {
  const std::string_view header = take_until(input, '\0');
  const auto file =
      unless_refused([&] { return io::SafetensorsFile::parse(safetensors_file(header, input), "memory"); });
  if (!file) return;
  const bool as_float = check_optimizer<float>(*file), as_double = check_optimizer<double>(*file);
  require(!as_float || !as_double, "a state has one precision");
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
