// Which options of a stored run may differ when it is gone on with.
#include <merganser/runs/resumed_run.hpp>

#include <string>
#include <utility>
#include <vector>

#include "io/temporary_directory.hpp"
#include "runs/small_text_model.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace resumed_run_test {

using namespace merganser;
using namespace merganser::runs;
using namespace merganser::testing;

/// A directory with the first checkpoint of a run.
struct Stored {
  TemporaryDirectory directory;
  TrainOptions options;

  explicit Stored(TrainOptions of_run = small_run()) : options(std::move(of_run)) {
    options.checkpoints = directory.path().string();
    options.save = "/a/model";
    options.keep = 5;
    Settings settings = settings_of(options);
    settings["content of --text"] = "the old one";
    RunCheckpointing run = open_checkpoints(options, settings);
    const TextModel model = make_model(design_model(options.model, std::nullopt), 1);
    TextModel trained = model;
    training::Trainer<TextModel> trainer(trained, training::trainer_config(options.recipe, model, 6, 1));
    run.saved.save(trained, trainer, data::BatchSource(), 1.0);
  }

  TrainOptions asked() const {
    TrainOptions asked;
    asked.resume = directory.path().string();
    return asked;
  }
};

TEST_CASE("a resumed run has the options of the stored one, and writes nowhere unasked", "[resumed_run]") {
  const Stored stored;
  std::vector<std::string> notes;
  const TrainOptions options = resumed_options(stored.asked(), notes);
  Settings expected = settings_of(stored.options);
  expected.erase("--save");
  CHECK(settings_of(options) == expected);
  CHECK(options.keep == 5);
  CHECK(options.checkpoint.starts_with(stored.directory.path().string()));
  REQUIRE(notes.size() == 1);
  CHECK(notes.front() == "--save /a/model of the run is passed over: give it again to write there");
}

TEST_CASE("a checkpoint of before, which stores options without effect, is gone on with", "[resumed_run]") {
  TrainOptions of_before = small_run();
  of_before.data.texts.clear();
  of_before.data.pairs = {{"", "pairs.tsv"}};
  of_before.data.noise = 0.1;
  of_before.data.shortest_window = 16;
  const Stored stored(of_before);
  std::vector<std::string> notes;
  TrainOptions asked = stored.asked();
  const TrainOptions options = resumed_options(asked, notes);
  CHECK_FALSE(options.data.noise);
  CHECK_FALSE(options.data.shortest_window);
  asked.data.noise = 0.2;  // given now it is an error as ever
  asked.given = {"--noise"};
  CHECK(argument_error([&] { resumed_options(asked, notes); }).starts_with("--noise: got 0.2, expected 0.1"));
}

TEST_CASE("what changes no result may differ, and the rest is named", "[resumed_run]") {
  const Stored stored;
  std::vector<std::string> notes;
  TrainOptions asked = stored.asked();
  asked.keep = 2;
  asked.threads = 3;
  asked.save = "/a/model";
  asked.recipe.batch_size = 3;
  asked.given = {"--keep", "--threads", "--save", "--batch", "--resume"};
  const TrainOptions options = resumed_options(asked, notes);
  CHECK(options.keep == 2);
  CHECK(options.threads == 3);
  CHECK(options.overwrite == Overwrite::yes);  // of its own earlier end
  CHECK(notes.empty());
  asked.recipe.batch_size = 4;
  CHECK(argument_error([&] { resumed_options(asked, notes); }) ==
        "--batch: got 4, expected 3, as the run in " + asked.resume + " has");
  asked.given = {"--steps"};
  asked.steps = 9;
  CHECK(
      argument_error([&] { resumed_options(asked, notes); }).starts_with("--steps: got 9, expected 6, as the run in "));
  asked.given = {"--text"};
  asked.data.texts = {{"", "x"}};
  CHECK(argument_error([&] { resumed_options(asked, notes); }).find("expected no such option") != std::string::npos);
  asked.resume += "/nothing";
  CHECK_THROWS(resumed_options(asked, notes));
}

TEST_CASE("a new run does not go into the folder of another, and other files are no resumption", "[resumed_run]") {
  const Stored stored;
  CHECK(argument_error([&] { open_checkpoints(stored.options, {}); }).find("holds a run; --resume") !=
        std::string::npos);
  TrainOptions resumed = stored.asked();
  CHECK_NOTHROW(open_checkpoints(resumed, {{"content of --text", "the old one"}}));
  CHECK(argument_error([&] {
          open_checkpoints(resumed, {{"content of --text", "a new one"}});
        }).starts_with("content of --text: got a new one, expected the old one"));
  CHECK_THROWS_AS(open_checkpoints(resumed, {}), std::invalid_argument);
}

}  // namespace resumed_run_test
