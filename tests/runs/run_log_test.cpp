// A log is JSON lines, also behind a line that broke off.
#include <merganser/runs/run_log.hpp>

#include <fstream>
#include <iterator>
#include <string>

#include <merganser/core/io_error.hpp>
#include <merganser/core/text_format.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace run_log_test {

using namespace merganser;
using namespace merganser::testing;
using runs::RunLog;

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

training::StepReport report(Index step) {
  training::StepReport result;
  result.step = step;
  result.total = 1.5;
  result.gated_batches = step % 2;
  result.deletion_rate = 0.25;
  return result;
}

TEST_CASE("steps and events are a line each", "[run_log]") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "log.jsonl";
  {
    RunLog log(path, 2);
    log.event("start", io::JsonObject().set("steps", 4));
    for (Index step = 0; step < 4; ++step) log.step(report(step), 0.5);
  }
  const auto lines = split(content(path), '\n');
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "{\"event\":\"start\",\"steps\":4}");
  const io::JsonRecord step(lines[2], "log", "line 3");
  CHECK(step.get<Index>("step") == 2);
  CHECK(step.get<double>("loss") == 1.5);
  CHECK(step.get<double>("seconds") == 0.5);
  CHECK(lines[2].find("\"deletion_rate\":null") != std::string::npos);  // no gated batch
}

TEST_CASE("a log goes on behind a line that broke off", "[run_log]") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "log.jsonl";
  std::ofstream(path) << "{\"event\":\"start\"}\n{\"st";
  RunLog(path, 1, RunLog::Start::append).event("resume", {});
  CHECK(content(path) == "{\"event\":\"start\"}\n{\"st\n{\"event\":\"resume\"}\n");
  RunLog(path, 1).event("start", {});
  CHECK(content(path) == "{\"event\":\"start\"}\n");
}

TEST_CASE("without a path nothing is written, and a path that cannot be is named", "[run_log]") {
  RunLog nothing;
  nothing.event("start", {});
  nothing.step(report(0), 0);
  const TemporaryDirectory directory;
  CHECK_THROWS_AS(RunLog(directory.path() / "no_such_folder" / "log", 1), IoError);
  CHECK_THROWS_AS(RunLog(directory.path(), 1), IoError);
}

TEST_CASE("a log is told from other files", "[run_log]") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "file";
  const auto is_log = [&](const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
    return RunLog::is_log(path);
  };
  CHECK(is_log(""));
  CHECK(is_log("{\"eve"));
  CHECK(is_log("{\"event\":\"start\"}\n"));
  CHECK(is_log("{\"step\":0,"));
  CHECK_FALSE(is_log("{\"version\": 1}"));
  CHECK_FALSE(is_log("Call me Ishmael."));
}

}  // namespace run_log_test
