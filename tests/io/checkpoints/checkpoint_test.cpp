#include <merganser/io/checkpoints/checkpoint.hpp>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <merganser/core/executor.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/models/sequence_classifier.hpp>

#include "io/temporary_directory.hpp"
#include "io/tiny_run.hpp"
#include "support/catch.hpp"
#include "support/random_values.hpp"
#include "training/scripted_model.hpp"

namespace checkpoint_test {

using namespace merganser;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Names = std::vector<std::string>;
namespace fs = std::filesystem;

constexpr Index total_steps = 9;

/// The number of threads until the end of the scope.
class Threads {
 public:
  explicit Threads(int count) : pool_(count), scope_(pool_) {}

 private:
  ThreadPool pool_;
  ExecutorScope scope_;
};

template <Real Scalar>
std::string straight(int threads, Index sequences) {
  const Threads chosen(threads);
  TinyRun<Scalar> run(sequences);
  run.run_to(total_steps);
  return run.bits();
}

/// k steps, then all is forgotten but the checkpoint, then the rest.
template <Real Scalar>
std::string resumed(Index k, int threads_before, int threads_after, Index sequences) {
  const TemporaryDirectory directory;
  {
    const Threads chosen(threads_before);
    TinyRun<Scalar> run(sequences);
    run.run_to(k);
    io::write_checkpoint(run.model, run.checkpoint(), directory.path());
  }
  const Threads chosen(threads_after);
  TinyRun<Scalar> run(sequences);
  run.run_to(3);  // a trainer that has been elsewhere
  run.resume(directory.path());
  CHECK(run.trainer.steps_taken() == k);
  run.run_to(total_steps);
  return run.bits();
}

/// A complete checkpoint of a few steps.
struct Saved {
  Saved() {
    run.run_to(4);
    io::write_checkpoint(run.model, run.checkpoint(), directory.path());
  }

  /// What loading says now, and that it changed nothing.
  std::string error() const {
    TinyRun<float> other;
    other.run_to(1);
    const std::string before = other.bits();
    try {
      other.resume(directory.path());
    } catch (const IoError& failure) {
      CHECK(other.bits() == before);
      return failure.what();
    }
    return "nothing thrown";
  }

  void replace(const std::string& name, const std::string& from, const std::string& to) const {
    std::string text = io::read_text_file(directory / name);
    const std::size_t place = text.find(from);
    REQUIRE(place != std::string::npos);
    io::write_file_atomically(directory / name, text.replace(place, from.size(), to));
    io::write_checkpoint_manifest(directory.path());
  }

  TemporaryDirectory directory;
  TinyRun<float> run;
};

TEMPLATE_TEST_CASE("k steps, a checkpoint and the rest are the whole run, bit for bit", "[checkpoint]", float, double) {
  const std::string expected = straight<TestType>(1, 4);
  for (const Index k : {0, 1, 2, 4, 7, 8, 9}) CHECK(resumed<TestType>(k, 1, 1, 4) == expected);
}

TEST_CASE("threads may change at a checkpoint", "[checkpoint]") {
  constexpr Index sequences = 80;
  const std::string expected = straight<float>(1, sequences);
  CHECK(straight<float>(2, sequences) == expected);
  CHECK(resumed<float>(3, 2, 2, sequences) == expected);
  CHECK(resumed<float>(4, 1, 2, sequences) == expected);
  CHECK(resumed<float>(5, 2, 3, sequences) == expected);
}

TEST_CASE("the run of these tests uses everything random", "[checkpoint]") {
  TinyRun<float> run;
  run.run_to(total_steps);
  const auto state = run.trainer.state();
  CHECK(state.controller.integral != 0);
  CHECK(state.rng.state() != Rng(run.settings().seed).state());
  CHECK(run.bits() != straight<float>(1, 5));
  TinyRun<float> shorter;
  shorter.run_to(total_steps - 1);
  CHECK(run.bits() != shorter.bits());
}

TEST_CASE("a checkpoint is a model directory and more", "[checkpoint]") {
  const Saved saved;
  CHECK(saved.directory.entries() ==
        Names{"config.json", "manifest.json", "model.safetensors", "optimizer.safetensors", "trainer.json"});
  CHECK(bits_of(io::load_model<float>(saved.directory.path())) == bits_of(saved.run.model));
  const auto optimizer = io::SafetensorsFile::open(saved.directory / "optimizer.safetensors");
  CHECK(optimizer.integers("updates") == std::vector<std::int64_t>{4});
  CHECK(optimizer.contains("first_moment.shared.weight"));
  CHECK(optimizer.contains("second_moment.lm_head.weight"));
}

TEST_CASE("what the caller gave comes back", "[checkpoint]") {
  const TemporaryDirectory directory;
  TinyRun<float> run;
  auto given = run.checkpoint();
  given.metric = 0.75;
  given.best = io::RatedStep{3, 0.5};
  given.data = {Rng(4), 5, 6};
  given.settings = {{"--text", "/any/b\xffytes"}};
  io::write_checkpoint(run.model, given, directory.path());
  const auto read = io::load_checkpoint(run.model, directory.path());
  CHECK(read.metric == given.metric);
  CHECK(read.best == given.best);
  CHECK(read.data == given.data);
  CHECK(read.settings == given.settings);
  CHECK(io::read_checkpoint_record(directory.path()).settings == given.settings);
}

TEST_CASE("numbers that are not finite are part of the run", "[checkpoint]") {
  const TemporaryDirectory directory;
  TinyRun<float> run;
  run.run_to(2);
  run.model.shared.weight(3, 0) = std::numeric_limits<float>::infinity();
  auto checkpoint = run.checkpoint();
  checkpoint.trainer.second_moment.shared.weight(2, 1) = std::numeric_limits<float>::quiet_NaN();
  io::write_checkpoint(run.model, checkpoint, directory.path());
  TinyRun<float> other;
  const auto read = io::load_checkpoint(other.model, directory.path());
  CHECK(bits_of(other.model) == bits_of(run.model));
  CHECK(bits_of(read.trainer.second_moment) == bits_of(checkpoint.trainer.second_moment));
}

TEST_CASE("every file that is missing, cut or changed is told", "[checkpoint]") {
  for (const std::string name :
       {"config.json", "manifest.json", "model.safetensors", "optimizer.safetensors", "trainer.json"}) {
    const Saved saved;
    CHECK(saved.error() == "nothing thrown");
    const std::string whole = io::read_text_file(saved.directory / name);
    const std::string prefix = (saved.directory / name).string() + ": ";
    for (const std::size_t size : {std::size_t{0}, whole.size() / 2, whole.size() - 2}) {
      io::write_file_atomically(saved.directory / name, whole.substr(0, size));
      CHECK_THAT(saved.error(), Catch::Matchers::StartsWith(prefix));
    }
    std::string flipped = whole;
    flipped[whole.size() / 2] = static_cast<char>(flipped[whole.size() / 2] ^ 1);
    io::write_file_atomically(saved.directory / name, flipped);
    CHECK(saved.error() != "nothing thrown");
    fs::remove(saved.directory / name);
    CHECK_THAT(saved.error(), Catch::Matchers::StartsWith(prefix + "file: got no such file"));
  }
}

TEST_CASE("a checkpoint of another run is refused", "[checkpoint]") {
  const Saved saved;
  const std::string config = (saved.directory / "config.json").string();
  saved.replace("config.json", R"("dropout_rate": 0.1)", R"("dropout_rate": 0.2)");
  CHECK(saved.error() == config + ": dropout_rate: got 0.2, expected 0.1, as the model to go on with has");
  saved.replace("config.json", R"("dropout_rate": 0.2)", R"("dropout_rate": 0.1, "more": 1)");
  CHECK(saved.error() == config + ": more: got 1, expected no such key, as the model to go on with has");

  const Saved single;
  TinyRun<double> other;
  CHECK_THROWS_WITH(other.resume(single.directory.path()),
                    (single.directory / "trainer.json").string() +
                        ": scalar: got F32, expected F64, the precision of the model to go on with");
}

TEST_CASE("tensors that are not those of the run are refused", "[checkpoint]") {
  const Saved saved;
  const auto with_optimizer = [&](auto add_more) {
    const auto state = saved.run.trainer.state();
    io::SafetensorsWriter writer;
    auto first = state.first_moment, second = state.second_moment;
    for (const auto& view : parameter_views(first, "first_moment.")) writer.add(view.name, view);
    const auto views = parameter_views(second, "second_moment.");
    const std::vector<std::int64_t> updates{4};
    add_more(writer, views, std::span<const std::int64_t>(updates));
    io::save_parameters(saved.run.model, saved.directory / "model.safetensors");
    writer.write(saved.directory / "optimizer.safetensors");
    io::write_checkpoint_manifest(saved.directory.path());
    return saved.error();
  };
  const auto add_all = [](auto& writer, const auto& views, io::DataType dtype = io::DataType::f32) {
    for (const auto& view : views) writer.add(view.name, view, dtype);
  };
  CHECK(with_optimizer([&](auto& writer, const auto& views, auto updates) {
          add_all(writer, views);
          writer.add("updates", {}, updates);
        }) == "nothing thrown");
  CHECK_THAT(with_optimizer([&](auto& writer, const auto& views, auto) { add_all(writer, views); }),
             ContainsSubstring("updates: got no such tensor"));
  CHECK_THAT(with_optimizer([&](auto& writer, const auto& views, auto updates) {
               add_all(writer, views);
               writer.add("updates", {}, updates);
               writer.add("third", {1}, updates);
             }),
             ContainsSubstring("third: got an unknown tensor"));
  CHECK_THAT(with_optimizer([&](auto& writer, const auto& views, auto updates) {
               add_all(writer, views, io::DataType::f64);
               writer.add("updates", {}, updates);
             }),
             ContainsSubstring("got F64, expected F32"));
  CHECK_THAT(with_optimizer([&](auto& writer, const auto&, auto updates) { writer.add("updates", {}, updates); }),
             ContainsSubstring("second_moment.shared.weight: got no such tensor"));
  const std::vector<std::int64_t> two{4, 4}, negative{-4};
  CHECK_THAT(with_optimizer([&](auto& writer, const auto& views, auto) {
               add_all(writer, views);
               writer.add("updates", {2}, std::span<const std::int64_t>(two));
             }),
             ContainsSubstring("updates: got shape [2], expected one number from 0"));
  CHECK_THAT(with_optimizer([&](auto& writer, const auto& views, auto) {
               add_all(writer, views);
               writer.add("updates", {}, std::span<const std::int64_t>(negative));
             }),
             ContainsSubstring("updates: got -4, expected one number from 0"));

  const Saved rounded;
  io::save_model(rounded.run.model, rounded.directory.path(), {.dtype = io::DataType::bf16, .max_shard_bytes = {}});
  io::write_checkpoint_manifest(rounded.directory.path());
  CHECK_THAT(rounded.error(), ContainsSubstring("got BF16, expected F32"));
}

TEST_CASE("a manifest must name what every checkpoint has", "[checkpoint]") {
  const Saved saved;
  io::write_file_atomically(saved.directory / "manifest.json", std::string_view(R"({"version": 1, "files": {}})"));
  CHECK_THAT(saved.error(), ContainsSubstring("files.trainer.json: got no such key"));
}

TEST_CASE("models of other kinds have checkpoints without config.json", "[checkpoint]") {
  const TemporaryDirectory directory;
  ScriptedModel model;
  training::Trainer<ScriptedModel> trainer(model, {});
  data::Batch batch;
  batch.push_back({{5, 6}, {0, 1, 1, 2}});
  trainer.step(batch);
  io::write_checkpoint(model, {trainer.state()}, directory.path());
  CHECK(directory.entries() == Names{"manifest.json", "model.safetensors", "optimizer.safetensors", "trainer.json"});
  ScriptedModel other;
  training::Trainer<ScriptedModel> resumed(other, {});
  resumed.set_state(io::load_checkpoint(other, directory.path()).trainer);
  CHECK(resumed.steps_taken() == 1);
  CHECK(other.bias == model.bias);
  trainer.step(batch);
  resumed.step(batch);
  CHECK(other.bias == model.bias);
  CHECK(other.bias != ScriptedModel().bias);
}

TEST_CASE("a state of another model is not written", "[checkpoint]") {
  const TemporaryDirectory directory;
  const ScriptedModel model;
  training::TrainerState<ScriptedModel> state{zeros_like(model), zeros_like(model)};
  state.first_moment.bias = RowVector<double>::Zero(7);
  CHECK_THAT(argument_error([&] { io::write_checkpoint(model, {state}, directory.path()); }),
             ContainsSubstring("first_moment.bias"));
  CHECK(directory.entries().empty());
}

}  // namespace checkpoint_test
