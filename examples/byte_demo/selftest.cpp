// byte_demo selftest: whether a saved model still answers as it did when it was written.
#include <array>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/io/selftest.hpp>

#include <options.hpp>
#include <selftest.hpp>
#include <threads.hpp>

namespace byte_demo {

namespace io = merganser::io;

namespace {

/// Letters as in the tasks, a sentence, and bytes that are no text. Short, so that models of few positions read them.
constexpr std::array<std::string_view, 3> texts{"#aMerganserDives", "Deep in the wood: a lake.",
                                                "\xff\xfe\x80 \xe2\x82"};

std::vector<io::SelftestInput> inputs() {
  std::vector<io::SelftestInput> result;
  for (const std::string_view text : texts)
    result.push_back({merganser::data::ByteTokenizer().encode(text), merge::DeletionMode::hard});
  for (const auto mode : {merge::DeletionMode::none, merge::DeletionMode::soft})
    result.push_back({result.front().source, mode});
  return result;
}

}  // namespace

void write_selftest(const Model& model, const std::string& directory) {
  io::write_selftest(io::make_selftest<float>(model, inputs()), directory);
}

void selftest(const SelftestOptions& options) {
  const Threads threads(options.threads);
  const Model model = load_model(options.model);
  if (options.write == WriteSelftest::yes) {
    write_selftest(model, options.model.directory);
    std::cout << "Written: " << options.model.directory << "/" << io::selftest_file_name << ".\n";
    return;
  }
  const std::string file = (std::filesystem::path(options.model.directory) / io::selftest_file_name).string();
  const std::string written = "answers, as byte_demo selftest --write puts there";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) throw merganser::IoError(file, "file", "no such file", written);
  const std::size_t count = io::check_selftest(model, options.model.directory);
  if (count == 0) throw merganser::IoError(file, "cases", "none", written);
  std::cout << "All " << count << " cases answered as expected.\n";
}

}  // namespace byte_demo
