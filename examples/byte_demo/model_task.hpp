// The task of a model, which is part of its directory, and how a text becomes what such a model reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/data/example.hpp>
#include <merganser/evaluation/deletion_view.hpp>
#include <merganser/io/task_file.hpp>

#include <model.hpp>

namespace byte_demo {

using merganser::io::ModelTask;

/// What a model learns from such data.
ModelTask task_of(const DataOptions& options);

/// What task.json says; a model without it is taken to know the sentinels of published byte models.
/// @throws merganser::IoError if the file is damaged
ModelTask task_of(const ModelSource& model);

/// The same. @throws merganser::IoError also if the model has no id of that number
ModelTask task_of(const ModelSource& source, const Model& model);

/// The data with the task of the model where it names none.
/// @throws merganser::IoError as `task_of`
DataOptions with_task_of(const ModelSource& model, DataOptions options);

/// The source of an example as text, a character of which a byte is masked as _, and sentinels by their names.
std::vector<merganser::evaluation::DeletionSegment> as_given(const merganser::data::Example& example,
                                                             const merganser::data::SpecialTokens& special);

/// Texts as the sequences that a model is given.
struct Prompts {
  struct Piece {
    std::vector<merganser::TokenId> source;  ///< with its end
    std::size_t text;                        ///< the number of the text that it is of
  };

  std::vector<Piece> pieces;                                  ///< at least one a text, in order
  std::vector<std::string> notices;                           ///< a sentence each: what was done with the texts
  std::vector<merganser::evaluation::DeletionSegment> given;  ///< a single piece that was masked, as it was given

  Index longest() const;
};

/// A model that puts back masked bytes gets texts in windows of the length that it was trained on, and if none of them
/// names a mask, masks as in training; one that fills in spans gets spans likewise. Others get the text.
/// @param reading verbatim: names are bytes, and nothing is masked
/// @param seed of the masks
Prompts make_prompts(std::span<const std::string> texts, const ModelTask& task, TextReading reading,
                     std::uint64_t seed);

}  // namespace byte_demo
