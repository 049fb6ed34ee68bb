// byte_demo selftest: whether a saved model still answers as it did when it was written.
#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>

#include <merganser/core/io_error.hpp>
#include <merganser/io/models/selftest.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/saved_model.hpp>

#include <model.hpp>
#include <options.hpp>

namespace byte_demo {

void selftest(const SelftestOptions& options) {
  const runs::ProgramThreads threads(options.program.threads, std::cerr);
  const std::string& directory = options.model.directory;
  const Model model = load_model(options.model);
  if (options.write == WriteSelftest::yes) {
    runs::write_usual_selftest(model, directory);
    std::cout << "Written: " << directory << "/" << io::selftest_file_name << ".\n";
    return;
  }
  const std::string file = (std::filesystem::path(directory) / io::selftest_file_name).string();
  const std::string written = "answers, as byte_demo selftest --write puts there";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) throw merganser::IoError(file, "file", "no such file", written);
  const std::size_t count = io::check_selftest(model, directory);
  if (count == 0) throw merganser::IoError(file, "cases", "none", written);
  std::cout << "All " << count << " cases answered as expected.\n";
}

}  // namespace byte_demo
