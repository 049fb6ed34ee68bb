// Walking over the parameters of a layer or model by name.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA {

/// The name of a tensor as `visit` puts it together, or nobody's wish to know: then nothing is put together.
class ParameterName {
 public:
  ParameterName(std::string text) : text_(std::move(text)) {}
  ParameterName(const char* text) : text_(text) {}

  /// The beginning of names that nobody reads.
  static ParameterName unread() {
    ParameterName name("");
    name.read_ = false;
    return name;
  }

  operator const std::string&() const { return text_; }
  const std::string& text() const { return text_; }

  friend ParameterName operator+(ParameterName begin, std::string_view end) {
    if (begin.read_) begin.text_ += end;
    return begin;
  }

 private:
  std::string text_;
  bool read_ = true;
};

/// The weight of a convolution: tap k of input column i is in matrix column i taps + k.
template <Real Scalar>
struct ConvolutionWeight : Matrix<Scalar> {
  using Matrix<Scalar>::operator=;
  Index taps = 1;
};

/// A named tensor inside a layer: a view, valid as long as the layer neither moves nor changes shape.
template <Real Scalar>
struct ParameterView {
  std::string name;        ///< Hugging Face name, such as "encoder.block.0.layer.0.SelfAttention.q.weight"
  Scalar* data = nullptr;  ///< row-major
  Index rows = 0;          ///< 1 for a vector
  Index cols = 0;
  bool is_vector = false;  ///< shape [cols], not [rows, cols]
  Index taps = 0;          ///< above 0: shape [rows, cols / taps, taps]

  Index size() const { return rows * cols; }

  /// Its extents in a file.
  std::vector<Index> shape() const {
    if (is_vector) return {cols};
    if (taps > 0) return {rows, cols / taps, taps};
    return {rows, cols};
  }

  Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>> array() const { return {data, size()}; }
};

/// A view of one tensor: a row-major matrix or a vector, be it a row or a column.
template <class Tensor>
ParameterView<typename Tensor::Scalar> parameter_view(std::string name, Tensor& tensor) {
  static_assert(Tensor::IsRowMajor || Tensor::IsVectorAtCompileTime,
                "a parameter is stored row after row: merganser::Matrix, or Eigen::Matrix with Eigen::RowMajor");
  constexpr bool is_vector = Tensor::IsVectorAtCompileTime;
  ParameterView<typename Tensor::Scalar> view{std::move(name), tensor.data(), is_vector ? 1 : tensor.rows(),
                                              is_vector ? tensor.size() : tensor.cols(), is_vector};
  if constexpr (requires { tensor.taps; }) view.taps = tensor.taps;
  return view;
}

/// All tensors of a layer, in the order of its `visit`.
///
/// A layer is its parameters: it has `template <class Visitor> void visit(Visitor&&, const ParameterName& prefix)`,
/// which calls visitor(name, tensor) for each of them. Gradients and optimizer moments have the layer's own type, hence
/// the same names in the same order.
template <class Layer>
auto parameter_views(Layer& layer, const ParameterName& prefix = "") {
  using Scalar = typename Layer::ScalarType;
  Vector<ParameterView<Scalar>> views;
  layer.visit([&views](const std::string& name, auto& tensor) { views.push_back(parameter_view(name, tensor)); },
              prefix);
  return views;
}

/// Sets every parameter to 0.
template <class Layer>
void set_zero(Layer& layer) {
  for (const auto& view : parameter_views(layer, ParameterName::unread())) view.array().setZero();
}

/// A copy of the layer with every parameter 0: the start of a gradient sum.
template <class Layer>
Layer zeros_like(const Layer& layer) {
  Layer zeros = layer;
  set_zero(zeros);
  return zeros;
}

/// Copies every tensor of one layer to the tensor of another that has its name, and returns the names of those that
/// find none in `from` and stay as they are: a gate, where training goes on from a model without one.
/// @throws std::invalid_argument if `to` lacks a tensor of `from` or has it in another shape; nothing changes then
template <class From, class To>
Vector<std::string> copy_parameters(From& from, To& to) {
  const auto sources = parameter_views(from);
  const auto places = parameter_views(to);
  const auto named = [](const auto& views, const std::string& name) {
    return std::find_if(views.begin(), views.end(), [&](const auto& view) { return view.name == name; });
  };
  for (const auto& source : sources) {
    const auto place = named(places, source.name);
    if (place == places.end())
      throw_invalid_argument("copy_parameters", source.name, "no such tensor to copy to", "one of that name");
    check_equal("copy_parameters", source.name + " rows", source.rows, place->rows);
    check_equal("copy_parameters", source.name + " cols", source.cols, place->cols);
  }
  Vector<std::string> missing;
  for (const auto& place : places) {
    const auto source = named(sources, place.name);
    if (source == sources.end())
      missing.push_back(place.name);
    else
      std::copy_n(source->data, source->size(), place.data);
  }
  return missing;
}

/// How many numbers the layer has learned.
template <class Layer>
Index parameter_count(Layer& layer) {
  Index count = 0;
  for (const auto& view : parameter_views(layer, ParameterName::unread())) count += view.size();
  return count;
}

/// True if every parameter is a finite number.
template <class Layer>
bool all_finite(Layer& layer) {
  const auto views = parameter_views(layer, ParameterName::unread());
  return std::all_of(views.begin(), views.end(), [](const auto& view) { return view.array().allFinite(); });
}

}  // namespace merganser
