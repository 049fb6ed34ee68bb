// Every kind of data opens, says what it is, and gives the same batches again; what contradicts itself is refused.
#include <merganser/runs/training_data.hpp>

#include <fstream>
#include <string>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace training_data_test {

using namespace merganser;
using namespace merganser::runs;
using Catch::Matchers::Contains;

std::string repeated(const std::string& line, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += line + std::to_string(i) + "\n";
  return text;
}

struct Files {
  testing::TemporaryDirectory directory;

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(directory / name, std::ios::binary) << text;
    return (directory / name).string();
  }
};

std::string refusal(const DataOptions& options) {
  try {
    open_training_data(options, {});
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("a text gives windows, and its end is held back", "[training_data]") {
  const Files files;
  DataOptions options;
  options.texts = {{"", files.write("a.txt", repeated("the duck dives ", 100))}};
  options.window = 32;
  TrainingData data = open_training_data(options, {4, 3, 1, 1});
  CHECK(data.kind == AnswerKind::texts);
  CHECK(data.name == "denoise");
  CHECK(data.validation.size() == 3);
  CHECK(data.longest == 33);
  CHECK(data.batch_tokens == 128);
  CHECK(data.contents.count("content of --text") == 1);
  TrainingData again = open_training_data(options, {4, 3, 1, 1});
  for (int i = 0; i < 5; ++i) CHECK(data.batches().source == again.batches().source);
  // Shorter windows are trained on, too: a batch has as many bytes.
  bool shorter = false;
  for (int i = 0; i < 20; ++i) shorter = shorter || data.batches().source.count() == 8;
  CHECK(shorter);
  CHECK(open_evaluation_data(options, 5, 1).size() == 5);
}

TEST_CASE("pairs, labels, languages and tasks open", "[training_data]") {
  const Files files;
  DataOptions pairs;
  pairs.pairs = {{"", files.write("p.tsv", repeated("one\teins ", 30))}};
  const TrainingData answers = open_training_data(pairs, {});
  CHECK(answers.kind == AnswerKind::answers);
  CHECK(answers.validation.size() == 3);
  CHECK(answers.description == "27 pairs of texts");
  CHECK(answers.contents.at("content of held back") == "by hash");

  DataOptions labels;
  std::string lines;
  for (int i = 0; i < 20; ++i) lines += (i % 2 == 0 ? "bird\ta text " : "fish\ta text ") + std::to_string(i) + "\n";
  labels.labels = {{"", files.write("l.tsv", lines)}};
  const TrainingData classes = open_training_data(labels, {});
  CHECK(classes.kind == AnswerKind::classes);
  CHECK(classes.classes == std::vector<std::string>{"bird", "fish"});

  DataOptions languages;
  languages.texts = {{"en", files.write("en.txt", repeated("the duck dives deep ", 40))},
                     {"de", files.write("de.txt", repeated("die Ente taucht tief ", 40))}};
  const TrainingData two = open_training_data(languages, {8, 16, 1, 1});
  CHECK(two.languages.size() == 2);
  CHECK(two.languages[0].text.lines == two.languages[1].text.lines);

  DataOptions task;
  task.task = "copy";
  task.window = 6;
  CHECK(open_training_data(task, {2, 5, 1, 1}).validation.size() == 5);
}

TEST_CASE("what contradicts itself or has no effect is refused", "[training_data]") {
  const Files files;
  DataOptions options;
  CHECK_THAT(refusal(options), Contains("no examples"));
  options.task = "denoise";
  CHECK_THAT(refusal(options), Contains("needs --text"));
  options.texts = {{"", files.write("a.txt", repeated("some text ", 100))}};
  options.task = "copy";
  CHECK_THAT(refusal(options), Contains("takes no --text"));
  options.task = "span_corruption";
  options.noise = 0.2;
  CHECK(refusal(options) == "--noise has no effect: it is that of denoising");
  options.noise.reset();
  options.pairs = options.texts;
  CHECK_THAT(refusal(options), Contains("exclude each other"));
  options.texts.clear();
  CHECK_THAT(refusal(options), Contains("--task does not go with --tsv"));
  options.task.clear();
  options.window = 8;
  CHECK(refusal(options) == "--window has no effect: lines are as long as they are");
  DataOptions task;
  task.task = "copy";
  task.shortest_window = 4;
  CHECK(refusal(task) == "--shortest-window has no effect: it is that of --text");
  task.shortest_window.reset();
  task.valid = {{"", "x"}};
  CHECK_THAT(refusal(task), Contains("--valid goes with"));
}

}  // namespace training_data_test
