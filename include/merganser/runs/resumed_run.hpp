// Going on with a training run from its newest checkpoint.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/io/checkpoints/checkpoint_directory.hpp>
#include <merganser/io/checkpoints/run_checkpoints.hpp>
#include <merganser/runs/data_files.hpp>
#include <merganser/runs/model_design.hpp>
#include <merganser/runs/option.hpp>
#include <merganser/runs/run_options.hpp>
#include <merganser/runs/train_option_table.hpp>
#include <merganser/runs/training_data.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

inline std::string setting_in(const Settings& settings, const std::string& name) {
  const auto place = settings.find(name);
  if (place == settings.end()) return "no such option";
  return place->second.empty() ? "given" : place->second;
}

[[noreturn]] inline void refuse_setting(const std::string& name, const Settings& asked, const Settings& stored,
                                        const std::string& directory) {
  throw std::invalid_argument(name + ": got " + setting_in(asked, name) + ", expected " + setting_in(stored, name) +
                              ", as the run in " + directory + " has");
}

/// An option that is given again must be as it was, where it decides the result.
inline void check_given(const Option& option, const Settings& asked, const Settings& stored,
                        const std::string& directory) {
  if (option.role == OptionRole::input && stored.contains(option.name)) return;  // it may have moved
  if (setting_in(asked, option.name) == setting_in(stored, option.name)) return;
  if (option.name != "--steps") refuse_setting(option.name, asked, stored, directory);
  throw std::invalid_argument("--steps: got " + setting_in(asked, option.name) + ", expected " +
                              setting_in(stored, option.name) + ", as the run in " + directory +
                              " has: its learning rate ends there. To go on from its model: train --from the last "
                              "step in that directory, --steps for those to come");
}

}  // namespace detail

/// The options of a stored run, and those of a new command line that may differ. The run writes only where the new one
/// says, as a checkpoint may come from somebody else.
/// @param asked what the new command line says; its `given` are the options on it
/// @param notes gets a line for each output of the stored run that is not given again
/// @throws IoError or std::invalid_argument if there is no checkpoint in `asked.resume`
/// @throws std::invalid_argument if an option that decides the result differs from the stored one, with its name
inline TrainOptions resumed_options(const TrainOptions& asked, std::vector<std::string>& notes) {
  const std::string& directory = asked.resume;
  const auto newest = io::newest_checkpoint(directory);
  if (!newest) throw std::invalid_argument("--resume " + directory + ": there is no checkpoint");
  const Settings& stored = newest->record.settings;
  TrainOptions options, copy = asked;
  const OptionTable table = train_option_table(options), asked_table = train_option_table(copy);
  const Settings asked_settings = settings_of(asked_table);
  for (const auto& [name, value] : stored) {
    if (!name.starts_with("--") || name == "--minutes") continue;  // its steps are planned
    const Option* option = find_option(table, name);
    if (option != nullptr && option->role == OptionRole::output) {
      if (!asked.given.contains(name))
        notes.push_back(name + " " + printable(value) + " of the run is passed over: give it again to write there");
      continue;
    }
    try {
      read_option(table, name, value);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument("--resume " + directory + ": settings of another program: " + error.what());
    }
  }
  drop_idle_options(options.data);
  for (const Option& option : asked_table) {
    if (!asked.given.contains(option.name) || option.role == OptionRole::process) continue;
    if (option.role != OptionRole::output && option.role != OptionRole::saving)
      detail::check_given(option, asked_settings, stored, directory);
    read_option(table, option.name, option.text().value_or(""));
  }
  const bool own = detail::setting_in(stored, "--save") == detail::setting_in(asked_settings, "--save");
  options.overwrite = own ? Overwrite::yes : asked.overwrite;  // of an earlier end of this run
  options.resume = directory;
  options.checkpoint = newest->path.string();
  options.threads = asked.threads;
  return options;
}

/// Where a run is saved, and what it goes on from.
struct RunCheckpointing {
  io::RunCheckpoints<TextModel> saved;
  std::optional<io::NewestCheckpoint> resumed;
};

/// Opens `checkpoints` or `resume` of the options.
/// @param settings what the checkpoints remember besides, with the contents of the files
/// @throws IoError if the directory cannot be written to
/// @throws std::invalid_argument if a new run finds checkpoints, a resumed one none or other files
inline RunCheckpointing open_checkpoints(const TrainOptions& options, Settings settings) {
  const bool fresh = options.resume.empty();
  RunCheckpointing run{
      {fresh ? options.checkpoints : options.resume, {.every = options.checkpoint_every, .keep = options.keep}},
      std::nullopt};
  const std::string name = run.saved.path().string();
  run.resumed = io::newest_checkpoint(run.saved.path());
  if (fresh && run.resumed)
    throw std::invalid_argument("--checkpoints " + name + " holds a run; --resume " + name + " goes on with it");
  if (!fresh && !run.resumed) throw std::invalid_argument("--resume " + name + ": there is no checkpoint");
  if (run.resumed)
    for (const Settings* side : {&std::as_const(run.resumed->record.settings), &std::as_const(settings)})
      for (const auto& [key, value] : *side)
        if (key.starts_with(content_prefix) &&
            detail::setting_in(run.resumed->record.settings, key) != detail::setting_in(settings, key))
          detail::refuse_setting(key, settings, run.resumed->record.settings, name);
  run.saved.settings = std::move(settings);
  return run;
}

}  // namespace merganser::runs
