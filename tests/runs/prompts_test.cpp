// What models were trained to do, and what they are given of a text.
#include <merganser/runs/prompts.hpp>

#include <string>
#include <vector>

#include <merganser/evaluation/deletion_view.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace prompts_test {

using namespace merganser;
using namespace merganser::runs;

io::ModelTask denoising() {
  DataOptions options;
  options.texts = {{"", "a"}};
  options.window = 16;
  options.noise = 0.5;
  return task_of(options);
}

std::string decoded(const std::vector<TokenId>& ids) { return data::ByteTokenizer().decode(ids); }

TEST_CASE("data says what a model learns", "[prompts]") {
  const io::ModelTask task = denoising();
  CHECK(task.name == "denoise");
  CHECK(task.window == 16);
  CHECK(task.noise == 0.5);
  CHECK(task.special.mask.has_value());
  DataOptions options;
  options.pairs = {{"", "a"}};
  CHECK(task_of(options).name == "pairs");
  options = {};
  options.task = "copy";
  CHECK(task_of(options).name == "copy");
}

TEST_CASE("a directory without a task knows sentinels, one with a task gives it to texts", "[prompts]") {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path().string();
  CHECK(task_of(path).special.first_sentinel.has_value());
  io::ModelTask task = denoising();
  task.name = "span_corruption";
  io::write_task(task, path);
  DataOptions options;
  options.texts = {{"", "a"}};
  CHECK(with_task_of(path, options).task == "span_corruption");
  options.task = "denoise";
  CHECK(with_task_of(path, options).task == "denoise");
}

TEST_CASE("a text is masked for a model that puts right, unless it names masks or is verbatim", "[prompts]") {
  const std::vector<std::string> text = {"a merganser dives"};
  const Prompts masked = make_prompts(text, denoising(), TextReading::names, 1);
  REQUIRE(masked.pieces.size() == 2);  // 17 bytes in windows of 16
  CHECK(masked.longest() == 13);       // behind the blank, with its end
  CHECK(masked.notices.size() == 2);
  std::size_t masks = 0;
  for (const auto& piece : masked.pieces)
    for (const TokenId id : piece.source) masks += id == *denoising().special.mask ? 1U : 0U;
  CHECK(masks > 0);
  const Prompts verbatim = make_prompts(text, denoising(), TextReading::verbatim, 1);
  CHECK(decoded(verbatim.pieces[0].source) + decoded(verbatim.pieces[1].source) == text.front());
  const Prompts named = make_prompts(std::vector<std::string>{"a mer<mask>nser"}, denoising(), TextReading::names, 1);
  REQUIRE(named.pieces.size() == 1);
  CHECK(named.pieces[0].source.size() == 11);
  CHECK(named.given.empty());
}

TEST_CASE("every text has a piece, also an empty one", "[prompts]") {
  const Prompts prompts = make_prompts(std::vector<std::string>{"", "b"}, denoising(), TextReading::names, 1);
  REQUIRE(prompts.pieces.size() == 2);
  CHECK(prompts.pieces[0].source == std::vector<TokenId>{data::ByteTokenizer::eos_id});
  CHECK(prompts.pieces[1].text == 1);
}

TEST_CASE("what was masked is shown as a gap", "[prompts]") {
  const auto ids = data::ByteTokenizer().encode("ab");
  data::Example example{ids, ids};
  example.source[1] = *denoising().special.mask;
  const auto units = as_given(example, denoising().special);
  REQUIRE(units.size() == 2);
  CHECK(units[0].text == "a");
  CHECK(units[1].text == "_");
}

}  // namespace prompts_test
