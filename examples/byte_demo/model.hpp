// The models of the demo, as the command line names them.
#pragma once

#include <string>

#include <merganser/models/encoder_decoder.hpp>
#include <merganser/runs/model_design.hpp>
#include <merganser/runs/saved_model.hpp>

#include <options.hpp>

namespace byte_demo {

using Model = runs::TextModel;

/// A model to train or to save again, in full precision.
/// @throws merganser::IoError if the directory holds no model
Model load_whole_model(const ModelSource& source);

/// A model to run, not to train, in the precision of its files.
/// @throws merganser::IoError if the directory holds no model that reads bytes
Model load_model(const ModelSource& source);

/// The same to delete at a rate.
/// @throws std::invalid_argument also if neither the rate nor the settings of a policy by name say how much
Model load_model(const ModelSource& source, const runs::RateOptions& rate);

/// Says so if much more or less was deleted than `--target` asks for.
void warn_of_missed_target(const runs::RateOptions& rate, double deleted);

/// Makes the policies that a config.json or `--policy` names.
io::NamedPolicies named_policies();

/// Says on stderr what a file holds that was passed over; the same only once.
void print_warning(const std::string& text);

}  // namespace byte_demo
