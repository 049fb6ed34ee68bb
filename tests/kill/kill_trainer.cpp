// Kills a trainer with SIGKILL at random moments, also while it saves, and lets the next one go on from its
// checkpoints.
//
//   kill_trainer [--kills N] [--steps N] [--seed N]
//
// Each trainer is a process of its own, with 1 to 3 threads, that saves every other step. Exit code 0 if every trainer
// that came to the end has the weights, moments and random states of one that nobody killed, bit for bit, and none ever
// went back behind a checkpoint that was there.
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <merganser/core/executor.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/io/checkpoints/checkpoint_directory.hpp>
#include <merganser/io/files/atomic_file.hpp>

#include "io/tiny_run.hpp"

namespace {

using namespace merganser;
using Run = merganser::testing::TinyRun<float>;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr Index sequences = 24, save_every = 2;

struct Options {
  Index kills = 50, steps = 60;
  std::uint64_t seed = 1;
};

/// What of a run the parent compares: a file, because the trainers are other processes.
void write_result(const Run& run, const fs::path& path) {
  io::write_file_atomically(path, std::string_view(run.bits()));
}

void train_straight(Index steps, const fs::path& result) {
  Run run(sequences);
  run.run_to(steps);
  write_result(run, result);
}

/// Goes on from the newest checkpoint, if there is one, to the end.
void train_on(Index steps, const fs::path& directory, const fs::path& result) {
  io::CheckpointDirectory checkpoints(directory, {.keep = 2});
  Run run(sequences);
  if (const auto newest = io::newest_checkpoint(directory)) {
    if (!newest->skipped.empty()) throw std::runtime_error("an incomplete checkpoint: " + newest->skipped.front());
    run.resume(newest->path);
  }
  while (run.trainer.steps_taken() < steps) {
    run.run_to(run.trainer.steps_taken() + 1);
    if (run.trainer.steps_taken() % save_every == 0) checkpoints.save(run.model, run.checkpoint());
  }
  write_result(run, result);
}

/// Starts a job in a process of its own, whose exit code is not 0 if it throws.
pid_t start(const std::function<void()>& job) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("no process");
  if (child > 0) return child;
  int status = EXIT_SUCCESS;
  try {
    job();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kill_trainer: %s\n", error.what());
    status = EXIT_FAILURE;
  }
  ::_exit(status);
}

enum class End { killed, finished };

/// @throws std::runtime_error if the process failed
End wait_for(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child) throw std::runtime_error("a lost process");
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return End::killed;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("a trainer failed");
  return End::finished;
}

/// The highest step with a checkpoint, complete or not; -1 if there is none.
Index highest_step(const fs::path& directory) {
  std::error_code ignored;
  if (!fs::exists(directory, ignored)) return -1;
  const auto steps = io::detail::present_steps(directory);
  return steps.empty() ? -1 : steps.back();
}

bool was_saving(const fs::path& directory) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored))
    if (entry.path().filename().string().ends_with(".merganser-saving")) return true;
  return false;
}

struct Counts {
  Index kills = 0, while_saving = 0, runs = 0;
  std::map<Index, Index> steps;  // at the kill, in tenths of the run
};

Counts kill_again_and_again(const Options& options, const fs::path& place) {
  const fs::path expected_file = place / "straight", directory = place / "run", result = place / "result";
  const auto begin = Clock::now();
  if (wait_for(start([&] { train_straight(options.steps, expected_file); })) != End::finished)
    throw std::runtime_error("the straight run was killed");
  const std::chrono::duration<double> straight = Clock::now() - begin;
  const std::string expected = io::read_text_file(expected_file);

  Rng rng(options.seed);
  Counts counts;
  bool unfinished = true;
  while (counts.kills < options.kills || unfinished) {
    const Index before = highest_step(directory);
    const int threads = 1 + static_cast<int>(rng.below(3));
    const pid_t child = start([&] {
      ThreadPool pool(threads);
      const ExecutorScope scope(pool);
      train_on(options.steps, directory, result);
    });
    const auto delay = std::chrono::duration<double>(0.02) + rng.uniform() * straight;
    if (counts.kills < options.kills) {
      std::this_thread::sleep_for(delay);
      ::kill(child, SIGKILL);
    }
    const bool killed = wait_for(child) == End::killed;
    unfinished = killed;
    const Index after = highest_step(directory);
    if (after < before) throw std::runtime_error("a checkpoint was lost");
    if (after >= 0 && io::newest_checkpoint(directory)->record.step != after)
      throw std::runtime_error("the newest checkpoint is not complete");
    if (killed) {
      ++counts.kills;
      counts.while_saving += was_saving(directory) ? 1 : 0;
      ++counts.steps[after < 0 ? 0 : after * 10 / options.steps];
      continue;
    }
    if (io::read_text_file(result) != expected) throw std::runtime_error("another run than the straight one");
    ++counts.runs;
    fs::remove_all(directory);
    fs::remove(result);
  }
  return counts;
}

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i += 2) {
    const std::string name = arguments[i];
    const long value = i + 1 < count ? std::strtol(arguments[i + 1], nullptr, 10) : 0;
    if (value < 1 || (name != "--kills" && name != "--steps" && name != "--seed"))
      throw std::runtime_error("usage: kill_trainer [--kills N] [--steps N] [--seed N]");
    if (name == "--kills") options.kills = value;
    if (name == "--steps") options.steps = value;
    if (name == "--seed") options.seed = static_cast<std::uint64_t>(value);
  }
  return options;
}

}  // namespace

int main(int count, char** arguments) {
  std::string place = (fs::temp_directory_path() / "kill_trainer-XXXXXX").string();
  try {
    const Options options = parse(count, arguments);
    if (::mkdtemp(place.data()) == nullptr) throw std::runtime_error("no temporary directory");
    const Counts counts = kill_again_and_again(options, place);
    std::printf("%ld kills, %ld of them with a checkpoint half written; %ld runs of %ld steps came to their end, each ",
                static_cast<long>(counts.kills), static_cast<long>(counts.while_saving), static_cast<long>(counts.runs),
                static_cast<long>(options.steps));
    std::printf("with the bits of the run that nobody killed\nkills by tenth of the run:");
    for (const auto& [tenth, kills] : counts.steps)
      std::printf(" %ld:%ld", static_cast<long>(tenth), static_cast<long>(kills));
    std::printf("\n");
    fs::remove_all(place);
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kill_trainer: %s\n", error.what());
    std::error_code ignored;
    fs::remove_all(place, ignored);
    return EXIT_FAILURE;
  }
}
