// Filling a model that will only run: each weight goes from its file into the layout of the kernels by itself.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/memory_reserve.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/parameter_loading.hpp>
#include <merganser/io/files/tensor_data.hpp>
#include <merganser/io/files/tensor_table.hpp>
#include <merganser/kernels/packed_matrix.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/nn/feed_forward.hpp>
#include <merganser/nn/weight.hpp>

namespace merganser::inline MERGANSER_ISA::io::detail {

/// The smallest packed form that holds every number of a tensor as it is. Rounding to half precision may change the
/// bits of a NaN, so F16 stays in full where non-finite numbers are accepted.
template <Real Scalar>
kernels::Precision packed_precision(DataType dtype, NonFinite non_finite) {
  if (std::same_as<Scalar, double>) return kernels::Precision::full;
  if (dtype == DataType::bf16) return kernels::Precision::bfloat16;
  const bool finite = non_finite == NonFinite::refuse;
  return dtype == DataType::f16 && finite ? kernels::Precision::half : kernels::Precision::full;
}

/// The parameters of a model whose weights are absent: a visitor for its `visit`.
template <Real Scalar>
class PackedParameters {
 public:
  /// Absent weights that are packed as one.
  struct Unit {
    Index first = 0;                           ///< number of its parameter, or of the first of two
    nn::Weight<Scalar>* weight = nullptr;      ///< one
    nn::FeedForward<Scalar>* layer = nullptr;  ///< or its two inner ones
    Index size = 0;                            ///< numbers in all
  };

  template <class Tensor>
  void operator()(std::string name, Tensor& tensor) {
    views.push_back(parameter_view(std::move(name), tensor));
  }

  void absent(nn::Weight<Scalar>& weight, const std::string& name) {
    units.push_back({views.size(), &weight});
    add(weight, name);
  }

  void absent(nn::FeedForward<Scalar>& layer, const std::string& prefix) {
    units.push_back({views.size(), nullptr, &layer});
    add(layer.wi.weight, prefix + "wi_0.weight");
    add(layer.wi_gate.weight, prefix + "wi_1.weight");
  }

  /// In the order of a file: where data is null, the weight is one of a unit.
  Vector<ParameterView<Scalar>> views;
  std::vector<Unit> units;

 private:
  void add(const nn::Weight<Scalar>& weight, const std::string& name) {
    const Index rows = weight.out_features(), cols = weight.in_features();
    views.push_back({name, nullptr, rows, cols});
    units.back().size += rows * cols;
  }
};

/// Brings the weights of a model that was made without them, packed in the precision of their tensors, and the other
/// parameters, and prepares the model for inference. Leaves it undefined after an error.
/// @throws IoError as `load_parameters`
template <Real Scalar>
void load_packed_parameters(models::EncoderDecoder<Scalar>& model, const TensorTable& table,
                            const LoadOptions& options) {
  const ReserveLimitScope nothing_kept(0);  // what one weight took is not held while the next is read
  PackedParameters<Scalar> parameters;
  model.visit(parameters, "");
  const Vector<std::string> tensors = match_tensors(parameters.views, table, "", options);
  const auto read = [&](Index i, Scalar* target) {
    ParameterView<Scalar> view = parameters.views[i];
    view.data = target;
    table.read_into(tensors[i], view, options.non_finite);
    return packed_precision<Scalar>(table.tensor(tensors[i]).dtype, options.non_finite);
  };

  // A weight is there twice while it is packed: the large ones come first, while the model takes little memory.
  auto& units = parameters.units;
  std::stable_sort(units.begin(), units.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
  Matrix<Scalar> numbers;
  for (const auto& unit : units) {
    const ParameterView<Scalar>& view = parameters.views[unit.first];
    if (unit.size < numbers.size()) numbers.resize(0, 0);  // else it would keep the memory of the larger one
    numbers.resize(unit.size / view.cols, view.cols);
    kernels::Precision precision = read(unit.first, numbers.data());
    if (unit.weight != nullptr) {
      unit.weight->bring(numbers, precision);
      continue;
    }
    if (read(unit.first + 1, numbers.row(view.rows).data()) != precision) precision = kernels::Precision::full;
    unit.layer->prepare_inner_with(numbers.topRows(view.rows), numbers.bottomRows(view.rows), precision);
  }
  numbers.resize(0, 0);

  kernels::Precision head = kernels::Precision::full;
  for (Index i = 0; i < tensors.size(); ++i) {
    if (parameters.views[i].data == nullptr) continue;
    const kernels::Precision precision = read(i, parameters.views[i].data);
    if (parameters.views[i].data == model.shared.weight.data()) head = precision;
  }
  model.prepare_for_inference(head);  // what is left: the table as a tied head
}

}  // namespace merganser::io::detail
