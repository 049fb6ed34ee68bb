// Windows of texts: what is held back, and how long they are.
#include <merganser/runs/text_data.hpp>

#include <fstream>
#include <string>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace text_data_test {

using namespace merganser;
using namespace merganser::runs;

TEST_CASE("the task of a text is denoising unless it is called otherwise", "[text_data]") {
  DataOptions options;
  CHECK(text_task(options).task == data::TextTask::denoise);
  CHECK(text_task(options).noise == default_noise);
  options.noise = 0.25;
  CHECK(text_task(options).noise == 0.25);
  options.task = "span_corruption";
  CHECK(text_task(options).task == data::TextTask::span_corruption);
}

TEST_CASE("windows go down to a shortest one", "[text_data]") {
  DataOptions options;
  CHECK(training_windows(options, 2).window() == 64);
  CHECK(training_windows(options, 2).shortest() == 16);
  options.window = 8;
  CHECK(training_windows(options, 2).shortest() == 8);
  options.shortest_window = 9;
  CHECK_THROWS_WITH(training_windows(options, 2), "--shortest-window 9 is longer than the window of 8");
}

TEST_CASE("a text that is too short for a window to train on and one held back is refused", "[text_data]") {
  const testing::TemporaryDirectory directory;
  DataOptions options;
  options.texts = {{"", (directory / "a").string()}};
  const auto open = [&](std::size_t bytes) {
    std::ofstream(directory / "a") << std::string(bytes, 'x');
    return runs::detail::open_text(options, {2, 9, 1, 1});
  };
  CHECK_THROWS_AS(open(63), IoError);
  CHECK_THROWS_AS(open(127), IoError);
  CHECK(open(128).validation.size() == 1);
}

TEST_CASE("lines of as many languages are the same lines", "[text_data]") {
  using Lines = runs::detail::Lines;
  const std::vector<Lines> parallel = {Lines(100, "short"), Lines(100, "a longer line")};
  const auto chosen = runs::detail::choose_lines(parallel, 200);
  CHECK(chosen[0].size() == chosen[1].size());
  const std::vector<Lines> apart = {Lines(100, "short"), Lines(50, "a longer line")};
  const auto others = runs::detail::choose_lines(apart, 200);
  CHECK(others[0].size() > others[1].size());
  CHECK(runs::detail::hold_back_end(Lines(20, "x"), "file").second.size() == 2);
  CHECK_THROWS_AS(runs::detail::hold_back_end(Lines(1, "x"), "file"), IoError);
}

}  // namespace text_data_test
