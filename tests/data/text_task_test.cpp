#include <merganser/data/text_task.hpp>

#include <string>

#include "support/catch.hpp"

namespace text_task_test {

using namespace merganser;
using namespace merganser::data;

TEST_CASE("denoising puts masks in and asks for the whole text", "[text_task]") {
  const std::string text = "Any bytes \xff are text, \xd0 too; the ducks swim.";
  Rng rng(1);
  TextTaskMaker make;
  make.noise = 0.5;
  make.mask = 300;
  const Example example = make(text, rng);
  REQUIRE(ByteTokenizer().decode(example.target) == text);
  REQUIRE(example.source.size() == example.target.size());
  Index masked = 0;
  for (std::size_t i = 0; i < example.source.size(); ++i) {
    if (example.source[i] == 300)
      ++masked;
    else
      REQUIRE(example.source[i] == example.target[i]);
  }
  REQUIRE(masked > 10);
  make.noise = 0;
  const Example clean = make(text, rng);
  REQUIRE(clean.source == clean.target);
}

TEST_CASE("span corruption is that of SpanCorruption", "[text_task]") {
  const std::string text = "The ducks swim slowly across the quiet lake before the evening comes.";
  Rng rng(4), again(4);
  const Example example = TextTaskMaker{.task = TextTask::span_corruption}(text, rng);
  REQUIRE(example == SpanCorruption().corrupt(ByteTokenizer().encode(text, AddEos::no), again));
  REQUIRE(example.source.size() < text.size());
}

}  // namespace text_task_test
