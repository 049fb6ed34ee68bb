// The model of the demo, and how one is made and loaded.
#pragma once

#include <optional>
#include <string>

#include <merganser/io/task_file.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/nn/embedding.hpp>

#include <options.hpp>

// Compiled once, in model.cpp.
extern template class merganser::models::Encoder<float>;
extern template class merganser::models::Decoder<float>;
extern template class merganser::models::EncoderDecoder<float>;

namespace byte_demo {

using Model = models::EncoderDecoder<float>;

/// A model to train or to save again, in full precision.
/// @throws merganser::IoError if the directory holds no model
Model load_whole_model(const ModelSource& source);

/// A model to run, not to train, in the precision of its files.
/// @throws merganser::IoError if the directory holds no model that reads bytes
Model load_model(const ModelSource& source);

/// @throws merganser::IoError if the vocabulary has no place for all bytes and a mask
void check_reads_bytes(const Model& model, const std::string& directory);

/// @throws std::invalid_argument if the model has no positions for so many tokens; `what` names their sequence
void check_length(const Model& model, Index tokens, const std::string& what);

/// @throws std::invalid_argument if the model has no gate; `what` needs one
void check_has_gates(const Model& model, const std::string& directory, const std::string& what);

/// Finds out before minutes of work whether files can be made in a directory that is there; makes nothing.
/// @param what is to go there, for the error
/// @throws merganser::IoError if not
void check_can_write(const std::string& directory, const std::string& what);

/// Finds out before hours of training whether `save_model` will be able to write; makes nothing.
/// @throws merganser::IoError if not
/// @throws std::invalid_argument if a model is there that may not be overwritten
void check_can_save(const Model& model, const std::string& directory, Overwrite overwrite);

/// The model, its task and its self-test (selftest.hpp). The calibration of another model in its place goes.
/// @param start_from the directory of the model that training began with, whose other files come along, or empty
void save_model(const Model& model, const merganser::io::ModelTask& task, const std::string& directory,
                const std::string& start_from = {});

/// Says on stderr what a file holds that was passed over; the same only once.
void print_warning(const std::string& text);

/// Hard deletion at the rate or in the time asked for.
/// @throws merganser::IoError if calibration.json of the model is needed and is not there or damaged
/// @throws std::invalid_argument if nothing in it is fast enough, or something is asked for and the model has no gate
merge::DeletionOptions deletion_options(const RateOptions& rate, const ModelSource& source, const Model& model);

}  // namespace byte_demo
