// Nothing that io writes or reads, names included, hangs on the locale of the program.
#include <algorithm>
#include <clocale>
#include <filesystem>
#include <locale>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/io/checkpoints/checkpoint_directory.hpp>
#include <merganser/io/models/calibration_file.hpp>
#include <merganser/io/models/generation_config.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/io/models/selftest.hpp>

#include "io/temporary_directory.hpp"
#include "io/tiny_run.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace locale_test {

using namespace merganser;
using namespace merganser::testing;
namespace fs = std::filesystem;

/// Writes 1234.5 as people in Germany do, or in the United States.
class Punctuation : public std::numpunct<char> {
 public:
  Punctuation(char point, char separator) : point_(point), separator_(separator) {}

 protected:
  char do_decimal_point() const override { return point_; }
  char do_thousands_sep() const override { return separator_; }
  std::string do_grouping() const override { return "\3"; }

 private:
  char point_, separator_;
};

/// Gives C and C++ back their locales.
class LocaleScope {
 public:
  LocaleScope() : c_(std::setlocale(LC_ALL, nullptr)) {}
  LocaleScope(const LocaleScope&) = delete;
  LocaleScope& operator=(const LocaleScope&) = delete;
  ~LocaleScope() {
    std::locale::global(cxx_);
    std::setlocale(LC_ALL, c_.c_str());
  }

 private:
  std::string c_;
  std::locale cxx_;
};

/// Everything that io writes, and what reading it and its errors say: the same texts in every locale.
std::vector<std::string> all_of_io() {
  const TemporaryDirectory directory;
  std::vector<std::string> texts;
  TinyRun<float> run;
  run.run_to(1);
  io::save_model(run.model, directory / "model");
  io::save_model(run.model, directory / "shards", {.dtype = {}, .max_shard_bytes = 5000});
  for (const char* name : {"model", "shards"}) texts.push_back(bits_of(io::load_model<float>(directory / name)));
  const auto loaded = io::load_model<float>(directory / "model");
  texts.push_back(to_text(loaded.config().encoder.score_bound.value) + " " +
                  to_text(io::describe_policies(loaded.encoder.policies).gates[0].scale));
  const evaluation::Calibration table({{-29.5, 0.125, 1.25, 0.5, 0.25, 1234.5}}, {1'234'567, 12'345, 1});
  io::write_calibration(table, directory / "model");
  texts.push_back(io::read_calibration(directory / "model") == table ? "same table" : "another table");
  const std::vector<io::SelftestInput> inputs{{{2, 3, 4, 1}, merge::DeletionMode::soft}};
  io::write_selftest(io::make_selftest<float>(run.model, inputs), directory / "model");
  texts.push_back(std::to_string(io::check_selftest(run.model, directory / "model")));
  io::write_file_atomically(directory / "model" / "generation_config.json",
                            std::string_view(R"({"temperature": 0.75, "max_length": 1000000})"));
  const io::GenerationConfig wishes = io::read_generation_config(directory / "model");
  texts.push_back(to_text(wishes.temperature.value()) + " " + std::to_string(wishes.max_length.value()));

  {
    io::CheckpointDirectory checkpoints(directory / "run", {.keep = 9});
    for (const Index step : {999, 1000, 1'234'567}) {
      auto checkpoint = run.checkpoint();
      checkpoint.trainer.step = checkpoint.trainer.attempts = step;
      checkpoint.metric = 1.5;
      texts.push_back(checkpoints.save(run.model, checkpoint).filename().string());
    }
  }
  const auto newest = io::newest_checkpoint(directory / "run");
  texts.push_back(newest ? newest->path.filename().string() : "none");
  io::CheckpointDirectory again(directory / "run", {});
  texts.push_back(std::to_string(again.steps().size()) + " checkpoints, best " + to_text(again.best().value().metric));
  TinyRun<float> resumed;
  resumed.resume(newest.value().path);
  texts.push_back(resumed.bits());

  // Errors with numbers in them.
  texts.push_back(argument_error([] { evaluation::Calibration({{-1.5, 1.25, 0, 0, 0, 0}}, {1, 1, 1}); }));
  io::Selftest other = io::read_selftest(directory / "model");
  other.cases[0].logits[0].values[0] += 1234.5;
  texts.push_back(io_error([&] { io::check_selftest(run.model, other, "selftest"); }));
  auto huge = io::read_text_file(directory / "model" / "config.json");
  huge.replace(huge.find("\"d_ff\": 24"), 10, "\"d_ff\": 2000000000");
  io::write_file_atomically(directory / "model" / "config.json", huge);
  std::string text = io_error([&] { io::load_model<float>(directory / "model"); });
  for (std::size_t at; (at = text.find(directory.path().string())) != std::string::npos;)
    text.erase(at, directory.path().string().size());
  texts.push_back(text);

  for (const auto& entry : fs::recursive_directory_iterator(directory.path())) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().lexically_relative(directory.path()).string();
    texts.push_back(name + ": " + io::read_text_file(entry.path()));
  }
  std::sort(texts.begin(), texts.end());
  return texts;
}

TEST_CASE("all of io reads and writes the same under every locale", "[locale]") {
  const LocaleScope scope;
  const std::vector<std::string> plain = all_of_io();
  CHECK(std::count(plain.begin(), plain.end(), "step-00001000") == 1);
  CHECK(std::count(plain.begin(), plain.end(), "step-01234567") == 2);  // saved, and the newest

  for (const auto& [point, separator] : {std::pair(',', '.'), std::pair('.', ',')}) {
    INFO("a C++ locale that writes 1" << separator << "234" << point << "5");
    const LocaleScope inner;
    std::locale::global(std::locale(std::locale::classic(), new Punctuation(point, separator)));
    CHECK(all_of_io() == plain);
  }
  for (const char* name : {"de_DE.UTF-8", "en_US.UTF-8"}) {
    INFO(name);
    const LocaleScope inner;
    if (std::setlocale(LC_ALL, name) == nullptr) continue;  // not installed here
    CHECK(all_of_io() == plain);
    std::locale::global(std::locale(name));
    CHECK(all_of_io() == plain);
  }
}

}  // namespace locale_test
