// What a model writes.
#pragma once

#include <string>

#include <merganser/models/generation.hpp>

#include <model.hpp>

namespace byte_demo {

/// The bytes that the model writes for a text of any bytes; `seed` of the options is also that of a random gate.
std::string answer(const Model& model, const std::string& text, const models::GenerationOptions& options,
                   const merge::DeletionOptions& deletion);

}  // namespace byte_demo
