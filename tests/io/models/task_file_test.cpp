// task.json: it comes back, what others write is refused by name, and directories without it are fine.
#include <merganser/io/models/task_file.hpp>

#include <fstream>
#include <string>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace task_file_test {

using namespace merganser;
using Catch::Matchers::StartsWith;
using io::ModelTask;
using merganser::testing::TemporaryDirectory;

std::string error_of(const std::string& text) {
  return testing::io_error([&] { io::parse_task(text, "t.json"); });
}

TEST_CASE("A task comes back from its file", "[io][task_file]") {
  const TemporaryDirectory directory;
  CHECK_FALSE(io::read_task(directory.path()));
  const ModelTask tasks[] = {
      {"denoise", {259, {}}, 0.1, 128, 32}, {"span_corruption", {{}, 258}, {}, {}}, {"copy", {}, {}, {}}};
  for (const ModelTask& task : tasks) {
    io::write_task(task, directory.path());
    CHECK(io::read_task(directory.path()) == task);
  }
}

TEST_CASE("What is wrong with a task.json is said by name", "[io][task_file]") {
  CHECK(error_of("[]") == "t.json: file: got array, expected a JSON object");
  CHECK(error_of(R"({"task": "copy"})") == "t.json: version: got no such key, expected 1");
  CHECK_THAT(error_of(R"({"version": 2, "task": "copy"})"), StartsWith("t.json: version: got 2"));
  CHECK(error_of(R"({"version": 1})") == "t.json: task: got no such key, expected a name");
  CHECK(error_of(R"({"version": 1, "task": 7})") == "t.json: task: got 7, expected a name");
  CHECK_THAT(error_of(R"({"version": 1, "task": "copy", "speed": 1})"),
             StartsWith("t.json: speed: got an unknown key"));
  CHECK_THAT(error_of(R"({"version": 1, "task": "denoise", "mask_id": 2})"), StartsWith("t.json: mask_id: got 2"));
  CHECK(error_of(R"({"version": 1, "task": "denoise", "mask_id": 247})") != "");  // the letters of a text are no mask
  CHECK_THAT(error_of(R"({"version": 1, "task": "s", "first_sentinel_id": "a"})"),
             StartsWith("t.json: first_sentinel_id: got"));
  CHECK(error_of(R"({"version": 1, "task": "denoise", "noise": 1.5})") ==
        "t.json: noise: got 1.5, expected a number in [0, 1]");
  CHECK_THAT(error_of(R"({"version": 1, "task": "denoise", "window": 8, "shortest_window": 9})"),
             StartsWith("t.json: shortest_window: got 9"));
  CHECK_THAT(error_of(R"({"version": 1, "task": "denoise", "window": 0})"), StartsWith("t.json: window: got 0"));
}

}  // namespace task_file_test
