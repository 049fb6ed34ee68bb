// What a saved model answers to some texts, written down beside it.
#pragma once

#include <string>

#include <model.hpp>

namespace byte_demo {

/// Writes `directory`/selftest.json for the model in it.
void write_selftest(const Model& model, const std::string& directory);

}  // namespace byte_demo
