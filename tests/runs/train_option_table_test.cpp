// The table of training options: complete, without doubles, and read from what it writes.
#include <merganser/runs/train_option_table.hpp>

#include <set>
#include <string>

#include "support/catch.hpp"

namespace train_option_table_test {

using namespace merganser;
using namespace merganser::runs;

TEST_CASE("every option has a name, a help and a group of its own, and excludes options that there are",
          "[train_option_table]") {
  TrainOptions options;
  const OptionTable table = train_option_table(options);
  std::set<std::string> names;
  for (const Option& option : table) {
    CHECK(names.insert(option.name).second);
    CHECK(option.name.starts_with("--"));
    CHECK_FALSE(option.help.empty());
    CHECK_FALSE(option.group.empty());
  }
  for (const Option& option : table)
    for (const std::string& other : option.excludes) CHECK(names.contains(other));
}

TEST_CASE("settings are read back as the same settings", "[train_option_table]") {
  TrainOptions options;
  options.data.texts = {{"", "/a/text"}};
  options.data.window = 48;
  options.model.gate_blocks = {1, 3};
  options.model.gate_noise = merge::GateNoise::gumbel;
  options.recipe.learning_rate = 1.0 / 3;
  options.recipe.hard_rates = training::RateRange{0.2, 0.7};
  options.recipe.target_ramp = 0;
  options.seed = 12345678901234567890U;
  const Settings settings = settings_of(options);
  CHECK(settings.at("--text") == "/a/text");
  CHECK(settings.at("--width") == "96");
  CHECK(settings.at("--gate") == "learned");
  CHECK(settings.at("--score-bound") == "soft_cap");
  CHECK(settings.at("--score-bound-value") == "8");
  CHECK(settings.at("--target") == "0.3");
  CHECK(settings.at("--hard-rates") == "0.2,0.7");
  CHECK_FALSE(settings.contains("--threads"));
  CHECK_FALSE(settings.contains("--no-gate"));
  TrainOptions read;
  const OptionTable table = train_option_table(read);
  for (const auto& [name, value] : settings) read_option(table, name, value);
  CHECK(settings_of(read) == settings);
  CHECK(read.recipe.learning_rate == 1.0 / 3);
}

TEST_CASE("a model to start from has sizes of its own", "[train_option_table]") {
  TrainOptions options;
  options.model.start_from = "/a/model";
  Settings settings = settings_of(options);
  for (const char* name : {"--width", "--gate", "--score-bound", "--target"}) CHECK_FALSE(settings.contains(name));
  options.model.gate = GateChoice::none;
  settings = settings_of(options);
  CHECK(settings.at("--no-gate").empty());
  CHECK_FALSE(settings.contains("--gate"));
}

TEST_CASE("rates in any order are a range", "[train_option_table]") {
  TrainOptions options;
  const OptionTable table = train_option_table(options);
  read_option(table, "--hard-rates", "0.7,0.2");
  CHECK(options.recipe.hard_rates->lowest == 0.2);
  CHECK(options.recipe.hard_rates->highest == 0.7);
  for (const char* bad : {"0.2", "0.2,0.3,0.4", "0.2,1.5", "a,b", ""})
    CHECK_THROWS_AS(read_option(table, "--hard-rates", bad), std::invalid_argument);
}

}  // namespace train_option_table_test
