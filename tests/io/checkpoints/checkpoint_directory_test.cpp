#include <merganser/io/checkpoints/checkpoint_directory.hpp>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <merganser/core/executor.hpp>

#include "io/temporary_directory.hpp"
#include "io/tiny_run.hpp"
#include "support/catch.hpp"
#include "support/random_values.hpp"
#include "training/scripted_model.hpp"

namespace checkpoint_directory_test {

using namespace merganser;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Names = std::vector<std::string>;
using Steps = std::vector<Index>;
namespace fs = std::filesystem;

/// A checkpoint of a model without a configuration: small and quick.
io::Checkpoint<ScriptedModel> checkpoint_at(Index step, std::optional<double> metric = {}) {
  const ScriptedModel model;
  io::Checkpoint<ScriptedModel> checkpoint{{zeros_like(model), zeros_like(model)}};
  checkpoint.trainer.step = checkpoint.trainer.attempts = step;
  checkpoint.metric = metric;
  return checkpoint;
}

void save(io::CheckpointDirectory& directory, Index step, std::optional<double> metric = {}) {
  ScriptedModel model;
  model.bias(0) = static_cast<double>(step);
  directory.save(model, checkpoint_at(step, metric));
}

void flip_a_bit(const fs::path& path) {
  std::string text = io::read_text_file(path);
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 4);
  io::write_file_atomically(path, text);
}

Names names_of(Steps steps) {
  Names names{io::DirectoryLock::file_name};
  for (const Index step : steps) names.push_back(io::checkpoint_name(step));
  return names;
}

Index newest_step(const fs::path& path) { return io::newest_checkpoint(path).value().record.step; }

TEST_CASE("checkpoints are called by their step", "[CheckpointDirectory]") {
  CHECK(io::checkpoint_name(0) == "step-00000000");
  CHECK(io::checkpoint_name(1234) == "step-00001234");
  CHECK(io::checkpoint_name(123456789) == "step-123456789");
  for (const Index step : {Index{0}, Index{7}, Index{99'999'999}, Index{100'000'000}, Index{999'999'999'999'999'999}})
    CHECK(io::checkpoint_step(io::checkpoint_name(step)) == step);
  for (const char* name : {"", "step-", "step-1", "step-0000000", "step-000000001", "step--0000001", "step-+0000001",
                           "step-0000000x", "Step-00000001", "step-00000001 ", ".step-00000001.merganser-saving",
                           "step-9999999999999999999", "step-00000001/"})
    CHECK_FALSE(io::checkpoint_step(name).has_value());
}

TEST_CASE("the newest checkpoint is found and loaded", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  const fs::path path = place / "deep/run";
  io::CheckpointDirectory directory(path, {});
  CHECK(directory.steps().empty());
  CHECK_FALSE(directory.best());
  CHECK_FALSE(io::newest_checkpoint(path));
  save(directory, 5);
  save(directory, 10);
  const auto newest = io::newest_checkpoint(path);
  REQUIRE(newest);
  CHECK(newest->path == path / "step-00000010");
  CHECK(newest->record.step == 10);
  CHECK(newest->skipped.empty());
  ScriptedModel model;
  CHECK(io::load_checkpoint(model, newest->path).trainer.step == 10);
  CHECK(model.bias(0) == 10);
  CHECK_THROWS_AS(io::newest_checkpoint(place / "missing"), IoError);
}

TEST_CASE("the last and the best are kept", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  io::CheckpointDirectory directory(place.path(), {.keep = 2});
  const double metrics[] = {0.5, 0.2, 0.4, 0.2, 0.3, 0.6};
  for (Index i = 0; i < 6; ++i) save(directory, 10 * (i + 1), metrics[i]);
  CHECK(directory.steps() == Steps{20, 50, 60});
  CHECK(place.entries() == names_of({20, 50, 60}));
  CHECK(directory.best() == io::RatedStep{20, 0.2});
  CHECK(io::newest_checkpoint(place.path())->record.best == io::RatedStep{20, 0.2});
  CHECK(io::newest_checkpoint(place.path())->record.metric == 0.6);
  save(directory, 70, 0.1);
  CHECK(directory.steps() == Steps{60, 70});
  CHECK(io::newest_checkpoint(place.path())->record.best == io::RatedStep{70, 0.1});
}

TEST_CASE("a higher metric can be the better one, and there may be none", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  io::CheckpointDirectory directory(place.path(), {.keep = 1, .better = io::BetterMetric::higher});
  save(directory, 1, 0.5);
  save(directory, 2, std::numeric_limits<double>::infinity());
  save(directory, 3, std::nan(""));
  save(directory, 4);
  CHECK(directory.steps() == Steps{1, 4});
  CHECK_FALSE(io::newest_checkpoint(place.path())->record.metric);
  save(directory, 5, 0.75);
  CHECK(directory.steps() == Steps{5});
}

TEST_CASE("a directory that is opened again knows its checkpoints", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  {
    io::CheckpointDirectory directory(place.path(), {.keep = 2});
    save(directory, 1, 0.1);
    save(directory, 2, 0.5);
    save(directory, 3, 0.4);
    CHECK_THROWS_WITH(io::CheckpointDirectory(place.path(), {}), ContainsSubstring("another writer"));
  }
  io::CheckpointDirectory again(place.path(), {.keep = 2});
  CHECK(again.steps() == Steps{1, 2, 3});
  CHECK(again.best() == io::RatedStep{1, 0.1});
  save(again, 4, 0.3);
  CHECK(again.steps() == Steps{1, 3, 4});
}

TEST_CASE("a damaged checkpoint is passed over for the newest complete one", "[CheckpointDirectory]") {
  for (const std::string file : {"manifest.json", "model.safetensors", "optimizer.safetensors", "trainer.json"})
    for (const bool gone : {false, true}) {
      const TemporaryDirectory place;
      {
        io::CheckpointDirectory directory(place.path(), {});
        for (const Index step : {1, 2, 3}) save(directory, step);
      }
      const fs::path damaged = place / "step-00000003" / file;
      if (gone)
        fs::remove(damaged);
      else
        flip_a_bit(damaged);
      const auto newest = io::newest_checkpoint(place.path());
      REQUIRE(newest);
      CHECK(newest->record.step == 2);
      REQUIRE(newest->skipped.size() == 1);
      CHECK_THAT(newest->skipped[0], ContainsSubstring("step-00000003"));

      // The run goes on and comes to the damaged step again.
      io::CheckpointDirectory directory(place.path(), {.keep = 2});
      CHECK(directory.steps() == Steps{1, 2});
      save(directory, 3);
      CHECK(directory.steps() == Steps{2, 3});
      CHECK(newest_step(place.path()) == 3);
    }
}

TEST_CASE("damaged checkpoints do not push out complete ones", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  {
    io::CheckpointDirectory directory(place.path(), {});
    for (const Index step : {10, 20, 30}) save(directory, step);
  }
  flip_a_bit(place / "step-00000020/model.safetensors");
  flip_a_bit(place / "step-00000030/model.safetensors");
  io::CheckpointDirectory directory(place.path(), {.keep = 1});
  CHECK(directory.steps() == Steps{10});
  save(directory, 15);
  CHECK(directory.steps() == Steps{15});
  CHECK(newest_step(place.path()) == 15);
  CHECK(place.entries() == names_of({15, 20, 30}));
  save(directory, 25);
  CHECK(place.entries() == names_of({25, 30}));
  save(directory, 30);
  CHECK(place.entries() == names_of({30}));
}

TEST_CASE("when all are damaged nothing is taken for whole", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  fs::create_directory(place / "step-00000001");
  io::write_file_atomically(place / "step-00000002", "a file");
  CHECK_THROWS_WITH(io::newest_checkpoint(place.path()),
                    ContainsSubstring(": checkpoints: got no complete one (") && ContainsSubstring("step-00000002"));
  io::CheckpointDirectory directory(place.path(), {});
  CHECK(directory.steps().empty());
  save(directory, 2);
  CHECK(newest_step(place.path()) == 2);
}

TEST_CASE("a checkpoint under the name of another step is not complete", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  io::CheckpointDirectory directory(place.path(), {});
  save(directory, 1);
  fs::copy(place / "step-00000001", place / "step-00000009");
  const auto newest = io::newest_checkpoint(place.path());
  REQUIRE(newest);
  CHECK(newest->record.step == 1);
  CHECK_THAT(newest->skipped.at(0), ContainsSubstring("step: got 1, expected 9"));
}

TEST_CASE("what a killed writer has left goes on the next start, other entries stay", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  {
    io::CheckpointDirectory directory(place.path(), {});
    save(directory, 1);
  }
  fs::copy(place / "step-00000001", place / ".step-00000002.merganser-saving");
  fs::create_directories(place / ".step-00000000.merganser-removed/rest");
  io::write_file_atomically(place / "notes.txt", "mine");
  CHECK(newest_step(place.path()) == 1);
  io::CheckpointDirectory directory(place.path(), {.keep = 1});
  CHECK(place.entries() == Names{io::DirectoryLock::file_name, "notes.txt", "step-00000001"});
  save(directory, 2);
  CHECK(place.entries() == Names{io::DirectoryLock::file_name, "notes.txt", "step-00000002"});
}

TEST_CASE("a step is saved once, and at least one checkpoint is kept", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  io::CheckpointDirectory directory(place.path(), {.keep = 1});
  save(directory, 3);
  CHECK(argument_error([&] { save(directory, 3); }) ==
        "CheckpointDirectory::save: step: got 3, expected a step that has no checkpoint yet");
  CHECK(argument_error([&] { io::CheckpointDirectory(place / "other", {.keep = 0}); }) ==
        "CheckpointDirectory: keep: got 0, expected at least 1");
  CHECK_FALSE(fs::exists(place / "other"));
}

TEST_CASE("a place that can't be a directory is an IoError", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  io::write_file_atomically(place / "file", "");
  CHECK_THROWS_AS(io::CheckpointDirectory(place / "file", {}), IoError);
  CHECK_THROWS_AS(io::CheckpointDirectory(place / "file/run", {}), IoError);
  CHECK_THROWS_AS(io::newest_checkpoint(place / "file"), IoError);
}

TEST_CASE("a run through a directory of checkpoints is the whole run, bit for bit", "[CheckpointDirectory]") {
  TinyRun<float> expected;
  expected.run_to(12);
  const TemporaryDirectory place;
  for (const Index until : {5, 8, 12}) {  // each time a new process, as it were
    TinyRun<float> run;
    if (const auto newest = io::newest_checkpoint(place.path())) run.resume(newest->path);
    io::CheckpointDirectory directory(place.path(), {.keep = 2});
    while (run.trainer.steps_taken() < until) {
      run.run_to(run.trainer.steps_taken() + 1);
      if (run.trainer.steps_taken() % 2 == 0) directory.save(run.model, run.checkpoint());
    }
    if (until == 12) CHECK(run.bits() == expected.bits());
  }
}

#if defined(__linux__)

/// Saves until the disk is full; then room is made and saving works again. Empty if all is as it should be.
std::string fill_the_disk(const fs::path& path, const std::function<void()>& make_room) {
  TinyRun<float> run;
  io::CheckpointDirectory directory(path, {.keep = 100});
  Index last = -1;
  std::string message;
  for (Index step = 0; step < 100 && message.empty(); ++step) {
    run.run_to(step);
    try {
      directory.save(run.model, run.checkpoint());
      last = step;
    } catch (const IoError& error) {
      message = error.what();
    }
  }
  if (message.empty()) return "the disk never was full";
  if (message.find("all bytes on the disk") == std::string::npos && message.find("can be made") == std::string::npos)
    return "not the error of a full disk: " + message;
  if (last < 0) return "the first checkpoint did not fit: " + message;
  if (newest_step(path) != last) return "the last checkpoint is not whole";
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.path().filename().string().ends_with("merganser-saving")) return "a part of a checkpoint was left";
  if (directory.steps().back() != last) return "the directory counts a checkpoint that is not there";
  make_room();
  directory.save(run.model, run.checkpoint());
  if (newest_step(path) != run.trainer.steps_taken()) return "saving does not work again";
  TinyRun<float> resumed;
  resumed.resume(io::newest_checkpoint(path)->path);
  return resumed.bits() == run.bits() ? "" : "another run";
}

bool write_text(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.flush();
  return file.good();
}

/// Mounts a tmpfs of 300 kB for this process alone.
bool mount_small_disk(const fs::path& path) {
  const auto user = ::getuid();
  const auto group = ::getgid();
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    write_text("/proc/self/setgroups", "deny");
    if (!write_text("/proc/self/uid_map", "0 " + std::to_string(user) + " 1") ||
        !write_text("/proc/self/gid_map", "0 " + std::to_string(group) + " 1"))
      return false;
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=300k") == 0;
}

TEST_CASE("a full disk is an error and leaves the last checkpoint", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  fs::create_directory(place / "disk");
  constexpr int may_not_mount = 77;
  std::fflush(stdout);
  const pid_t child = ::fork();  // mounts and a single thread of its own
  if (child == 0) {
    SerialExecutor serial;
    const ExecutorScope alone(serial);
    if (!mount_small_disk(place / "disk")) ::_exit(may_not_mount);
    std::string message;
    try {
      io::write_file_atomically(place / "disk/ballast", std::string(80'000, 'x'));
      message = fill_the_disk(place / "disk/run", [&] { fs::remove(place / "disk/ballast"); });
    } catch (const std::exception& error) {
      message = error.what();
    }
    if (!message.empty()) std::fprintf(stderr, "full disk: %s\n", message.c_str());
    ::_exit(message.empty() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == may_not_mount)
    WARN("skipped: this user may not mount a tmpfs");
  else
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a file that may not grow is an error and leaves the last checkpoint", "[CheckpointDirectory]") {
  const TemporaryDirectory place;
  TinyRun<float> run;
  io::CheckpointDirectory directory(place.path(), {});
  directory.save(run.model, run.checkpoint());
  run.run_to(2);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  for (const rlim_t bytes :
       std::vector<rlim_t>{0, 100, 5'000, 20'000}) {  // in config.json, the weights and the moments
    rlimit small = before;
    small.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &small);
    std::string message;
    try {
      directory.save(run.model, run.checkpoint());
    } catch (const IoError& error) {
      message = error.what();
    }
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_THAT(message, ContainsSubstring("expected all bytes on the disk"));
    CHECK(place.entries() == names_of({0}));
    CHECK(newest_step(place.path()) == 0);
  }
  std::signal(SIGXFSZ, handler);
  directory.save(run.model, run.checkpoint());
  CHECK(newest_step(place.path()) == 2);
}

#endif

}  // namespace checkpoint_directory_test
