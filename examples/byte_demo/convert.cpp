// byte_demo convert: a model with weights in another precision.
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <system_error>

#include <merganser/io/models/model_directory.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/saved_model.hpp>

#include <model.hpp>
#include <options.hpp>

namespace byte_demo {

void convert(const ConvertOptions& options) {
  const runs::ProgramThreads threads(std::nullopt, std::cerr);
  std::error_code ignored;
  if (std::filesystem::equivalent(options.model.directory, options.save, ignored))
    throw std::invalid_argument("--save " + options.save + ": got the directory of --model, expected another one");
  const Model model = load_whole_model(options.model);
  runs::check_can_save(model, options.save, options.overwrite);
  const io::ModelExtras extras = io::read_model_extras(options.model.directory);
  io::remove_model_extras(options.save);
  io::save_model(model, options.save, {.dtype = options.weights}, extras);
  ModelSource saved;
  saved.directory = options.save;
  runs::write_usual_selftest(load_model(saved), options.save);  // what the rounded weights answer
  std::cout << "Saved to " << options.save << ".\n";
}

}  // namespace byte_demo
