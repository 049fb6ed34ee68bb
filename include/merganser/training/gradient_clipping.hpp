// Clipping gradients to a global norm.
#pragma once

#include <cmath>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// The 2-norm over all gradients together.
template <class Model>
double gradient_norm(Model& gradients) {
  double sum = 0;
  for (const auto& view : parameter_views(gradients, ParameterName::unread()))
    sum += static_cast<double>(kernels::dot(view.size(), view.data, view.data));
  return std::sqrt(sum);
}

/// Scales the gradients so that their global norm is at most `max_norm`; returns the norm before (Pascanu et al. 2013,
/// arXiv 1211.5063). A norm that is not finite leaves the gradients alone.
/// @throws std::invalid_argument if max_norm is not positive
template <class Model>
double clip_gradients(Model& gradients, double max_norm) {
  using Scalar = typename Model::ScalarType;
  check_argument(max_norm > 0, "clip_gradients", "max_norm", max_norm, "a positive number");
  const double norm = gradient_norm(gradients);
  const double factor = max_norm / (norm + 1e-6);
  if (std::isfinite(norm) && factor < 1)
    for (const auto& view : parameter_views(gradients, ParameterName::unread()))
      view.array() *= static_cast<Scalar>(factor);
  return norm;
}

}  // namespace merganser::training
