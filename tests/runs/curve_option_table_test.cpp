#include <merganser/runs/curve_option_table.hpp>

#include <filesystem>
#include <set>
#include <string>

#include <support/catch.hpp>

namespace curve_option_table_test {

using namespace merganser;
using namespace merganser::runs;

void read(CurveOptions& options, const std::string& name, const std::string& text) {
  read_option(curve_option_table(options), name, text);
}

/// What is checked when these options are on a command line.
void check_given(CurveOptions options, const std::set<std::string>& given) {
  options.train.given = given;
  check_curve_options(options);
}

TEST_CASE("Options of a curve are read", "[runs][curve]") {
  CurveOptions options;
  read(options, "--policies", "learned,random");
  read(options, "--targets", "0,0.5,1");
  read(options, "--seeds", "3,18446744073709551615");
  read(options, "--text", "en=a.txt");
  read(options, "--text", "de=b=c.txt");
  read(options, "--valid", "d/e.txt");
  read(options, "--model", "learned@0.5=dir=x");
  CHECK(options.policies == std::vector<std::string>{"learned", "random"});
  CHECK(options.targets == std::vector<double>{0, 0.5, 1});
  CHECK(options.seeds == std::vector<std::uint64_t>{3, 18446744073709551615u});
  CHECK(options.train.data.texts == std::vector<TextFile>{{"en", "a.txt"}, {"de", "b=c.txt"}});
  CHECK(options.train.data.valid == std::vector<TextFile>{{"", "d/e.txt"}});
  REQUIRE(options.models.size() == 1);
  CHECK(options.models[0].policy == "learned");
  CHECK(options.models[0].target == 0.5);
  CHECK(options.models[0].directory == "dir=x");
  read(options, "--text", "a b=c.txt");  // no name of a language
  CHECK(options.train.data.texts.back() == TextFile{"", "a b=c.txt"});
}

TEST_CASE("A budget is a word or a time", "[runs][curve]") {
  const auto minutes = [](const std::string& text) {
    CurveOptions options;
    read(options, "--budget", text);
    return options.budget.minutes.value_or(0);
  };
  CHECK(minutes("20") == 20);
  CHECK(minutes("20m") == 20);
  CHECK(minutes("1.5h") == 90);
  CurveOptions options;
  read(options, "--budget", "quick");
  CHECK(options.budget.sizes == Budget::Sizes::quick);
  for (const char* wrong : {"soon", "", "h", "0", "-1", "nan", "20 m"})
    CHECK_THROWS_WITH(minutes(wrong), Catch::Matchers::StartsWith("--budget: got "));
}

TEST_CASE("What does not do is refused with the name of the option", "[runs][curve]") {
  CurveOptions options;
  CHECK_THROWS_WITH(read(options, "--targets", "1.01"), Catch::Matchers::StartsWith("--targets: got 1.01"));
  CHECK_THROWS_WITH(read(options, "--targets", "x"), Catch::Matchers::StartsWith("--targets: got x"));
  CHECK_THROWS_WITH(read(options, "--seeds", "-1"), Catch::Matchers::StartsWith("--seeds: got -1"));
  CHECK_THROWS_WITH(read(options, "--model", "learned"), "--model: got learned, expected POLICY@TARGET=DIR");
}

TEST_CASE("Options in force are texts, with files by absolute paths", "[runs][curve]") {
  CurveOptions options;
  read(options, "--text", "en=a.txt");
  read(options, "--text", "de=b.txt");
  options.out = "out";
  const Settings settings = settings_of(options);
  const std::string here = std::filesystem::current_path().lexically_normal().string();
  CHECK(settings.at("--text") == "en=" + here + "/a.txt de=" + here + "/b.txt");
  CHECK(settings.at("--out") == here + "/out");
  CHECK(settings.at("--targets") == "0,0.25,0.5,0.7");
  CHECK(settings.at("--seeds") == "1");
  CHECK(settings.at("--windows") == "512");
  CHECK(settings.at("--repetitions") == "3");
  CHECK(settings.at("--width") == "96");
  for (const char* absent : {"--budget", "--steps", "--model", "--valid", "--reference", "--threads", "--target"})
    CHECK_FALSE(settings.contains(absent));
}

TEST_CASE("A curve has no option twice, and none that its runs choose", "[runs][curve]") {
  CurveOptions options;
  std::set<std::string> names;
  for (const OptionTable& table : {curve_option_table(options), shared_option_table(options.train)})
    for (const Option& option : table) {
      CHECK(names.insert(option.name).second);
      CHECK_FALSE(option.group.empty());
      for (const std::string& other : option.excludes) CHECK(names.contains(other));
    }
  for (const char* chosen : {"--gate", "--no-gate", "--target", "--seed", "--minutes", "--save", "--resume"})
    CHECK_FALSE(names.contains(chosen));
  for (const char* shared : {"--task", "--from", "--width", "--kp", "--batch", "--windows", "--threads"})
    CHECK(names.contains(shared));
}

TEST_CASE("Options that no policy has a use for are refused", "[runs][curve]") {
  CurveOptions random;
  random.policies = {"random", "strided"};
  random.targets = {0, 0.5};
  CHECK_NOTHROW(check_given(random, {"--open-probability", "--width"}));
  CHECK_THROWS_WITH(check_given(random, {"--kp"}),
                    "--kp has no effect: no policy of this curve has a gate that learns");
  random.policies = {"strided"};
  CHECK_THROWS_WITH(check_given(random, {"--open-probability"}),
                    "--open-probability has no effect: no policy of this curve has a gate");
  random.policies = {"strided", "learned"};
  CHECK_NOTHROW(check_given(random, {"--open-probability", "--kp"}));
}

TEST_CASE("A curve that makes no sense is refused", "[runs][curve]") {
  CHECK_NOTHROW(check_curve_options({}));
  CurveOptions options;
  options.policies = {"best"};
  CHECK_THROWS_WITH(check_curve_options(options), Catch::Matchers::StartsWith("--policies: there is no policy best"));
  options = {};
  options.targets = {1.5};
  CHECK_THROWS_AS(check_curve_options(options), std::invalid_argument);
  options = {};
  options.seeds = {1, 1};
  CHECK_THROWS_AS(check_curve_options(options), std::invalid_argument);
  options = {};
  options.targets.clear();
  CHECK_THROWS_AS(check_curve_options(options), std::invalid_argument);
  options = {};
  options.train.data.texts = {{"en", "a"}};
  options.reference = "en";
  CHECK_NOTHROW(check_curve_options(options));
  options.reference = "fr";
  CHECK_THROWS_WITH(check_curve_options(options), "--reference fr is none of the languages");
  options = {};
  options.train.recipe.hard_rates = {0.2, 0.7};
  options.train.recipe.hard_probability = 1;
  CHECK_THROWS_WITH(check_curve_options(options), Catch::Matchers::StartsWith("--hard-rates: "));
}

}  // namespace curve_option_table_test
