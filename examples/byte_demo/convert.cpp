// byte_demo convert: a model with weights in another precision.
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <system_error>

#include <merganser/io/model_directory.hpp>

#include <model.hpp>
#include <options.hpp>
#include <selftest.hpp>
#include <threads.hpp>

namespace byte_demo {

void convert(const ConvertOptions& options) {
  const Threads threads(std::nullopt);
  std::error_code ignored;
  if (std::filesystem::equivalent(options.model.directory, options.save, ignored))
    throw std::invalid_argument("--save " + options.save + ": got the directory of --model, expected another one");
  const Model model = load_whole_model(options.model);
  check_can_save(model, options.save, options.overwrite);
  const merganser::io::ModelExtras extras = merganser::io::read_model_extras(options.model.directory);
  merganser::io::remove_model_extras(options.save);
  merganser::io::save_model(model, options.save, {.dtype = options.weights}, extras);
  ModelSource saved;
  saved.directory = options.save;
  write_selftest(load_model(saved), options.save);  // what the rounded weights answer
  std::cout << "Saved to " << options.save << ".\n";
}

}  // namespace byte_demo
