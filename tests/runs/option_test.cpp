// Options read what they write, and say what is wrong with a value.
#include <merganser/runs/option.hpp>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace option_test {

using namespace merganser;
using namespace merganser::runs;

constexpr OptionRole role = OptionRole::training;

std::string error_of(const Option& option, const std::string& text) {
  try {
    option.read(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "none";
}

TEST_CASE("whole numbers are in their range, of their type", "[option]") {
  Index plain = 7;
  std::optional<Index> maybe;
  std::uint64_t seed = 1;
  const Option count = count_option("--n", "Sequences", role, plain, 1, 100);
  CHECK(count.help == "Sequences; 7");
  CHECK(count.text() == "7");
  count.read("100");
  CHECK(plain == 100);
  for (const char* bad : {"", "0", "101", "-1", "1.5", "x", "1x", " 1", "99999999999999999999999"})
    CHECK(error_of(count, bad).ends_with("expected a whole number from 1 to 100"));
  const Option optional = count_option("--m", "Steps", role, maybe, 1, 100);
  CHECK(optional.help == "Steps");
  CHECK_FALSE(optional.text().has_value());
  optional.read("5");
  CHECK(maybe == 5);
  const Option seeds = count_option("--seed", "", role, seed, 0, std::numeric_limits<std::uint64_t>::max());
  seeds.read("18446744073709551615");
  CHECK(seeds.text() == "18446744073709551615");
  CHECK(error_of(seeds, "18446744073709551616") ==
        "got 18446744073709551616, expected a whole number from 0 to 18446744073709551615");
  CHECK(error_of(seeds, "-1") == "got -1, expected a whole number from 0 to 18446744073709551615");
}

TEST_CASE("numbers are numbers, and come back to the last bit", "[option]") {
  double value = 0.1;
  const Option number = number_option("--x", "A share", role, value, 0, 1);
  CHECK(number.help == "A share; 0.1");
  for (const double some : {1.0 / 3, 0.0, 1.0, 5e-324}) {
    value = some;
    const std::string text = *number.text();
    value = -1;
    number.read(text);
    CHECK(value == some);
  }
  for (const char* bad : {"nan", "inf", "-0.1", "1.1", "0.5x", ""})
    CHECK(error_of(number, bad).ends_with("expected a number from 0 to 1"));
}

TEST_CASE("words, flags, paths and lists read what they write", "[option]") {
  enum class Fruit { apple, pear };
  std::optional<Fruit> fruit;
  const Option choice =
      choice_option("--fruit", "", role, fruit, Choices<Fruit>{{"apple", Fruit::apple}, {"pear", Fruit::pear}});
  CHECK_FALSE(choice.text().has_value());
  choice.read("pear");
  CHECK(choice.text() == "pear");
  CHECK(error_of(choice, "plum") == "got plum, expected one of apple, pear");

  bool on = false;
  const Option flag = flag_option("--on", "", role, on, true);
  CHECK(flag.value.empty());
  CHECK_FALSE(flag.text().has_value());
  flag.read("");
  CHECK(flag.text() == "");

  std::string path;
  const Option file = path_option("--file", "FILE", "", role, path);
  CHECK_FALSE(file.text().has_value());
  CHECK(error_of(file, "") == "the name is empty");
  file.read("a/../b");
  CHECK(path == "a/../b");
  CHECK(file.text() == (std::filesystem::current_path() / "b").string());

  std::string word;
  const Option task = word_option("--task", "", role, word, {"copy", "denoise"});
  task.read("copy");
  CHECK(task.text() == "copy");
  CHECK(error_of(task, "") == "got nothing, expected one of copy, denoise");
}

TEST_CASE("settings are what is in force, but for what is of one process", "[option]") {
  Index batch = 32, threads = 2;
  std::optional<double> target;
  const OptionTable table = {count_option("--batch", "", OptionRole::training, batch, 1, 99),
                             count_option("--threads", "", OptionRole::process, threads, 1, 99),
                             number_option("--target", "", OptionRole::policy, target, 0, 1)};
  CHECK(settings_of(table) == Settings{{"--batch", "32"}});
  read_option(table, "--target", "0.3");
  CHECK(settings_of(table) == Settings{{"--batch", "32"}, {"--target", "0.3"}});
  CHECK_THROWS_WITH(read_option(table, "--batch", "x"), "--batch: got x, expected a whole number from 1 to 99");
  CHECK_THROWS_WITH(read_option(table, "--no", "x"), "--no: there is no such option");
  CHECK(find_option(table, "--batch") == &table[0]);
  CHECK(find_option(table, "batch") == nullptr);
}

}  // namespace option_test
