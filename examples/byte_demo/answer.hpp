// What a model writes.
#pragma once

#include <span>
#include <string>

#include <merganser/core/types.hpp>
#include <merganser/models/generation.hpp>

#include <model.hpp>
#include <options.hpp>

namespace byte_demo {

/// The bytes that the model writes for a text; `seed` of the options is also that of a random gate.
/// @param source ids with the end of sequence
std::string answer(const Model& model, std::span<const merganser::TokenId> source,
                   const models::GenerationOptions& options, const merge::DeletionOptions& deletion);

}  // namespace byte_demo
