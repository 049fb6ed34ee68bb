#include <merganser/io/checkpoints/checkpoint_record.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "support/catch.hpp"

namespace checkpoint_record_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using io::CheckpointRecord;

CheckpointRecord full_record() {
  CheckpointRecord record;
  record.scalar = io::DataType::f64;
  record.step = 12;
  record.attempts = 15;
  record.collapsed_steps = 4;
  record.controller = {0.1, -1.0 / 3.0};
  record.rng = Rng(8);
  record.data = {Rng(9), std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<Index>::max()};
  record.metric = 0.25;
  record.best = io::RatedStep{7, 0.125};
  record.settings = {{"--batch", "32"}, {"", ""}};
  return record;
}

CheckpointRecord parse(const std::string& text) { return io::parse_checkpoint_record(text, "t"); }

CheckpointRecord again(const CheckpointRecord& record) { return parse(io::to_json(record)); }

/// The text of a full record with one piece replaced.
std::string changed(const std::string& from, const std::string& to) {
  std::string text = io::to_json(full_record());
  const std::size_t place = text.find(from);
  REQUIRE(place != std::string::npos);
  return text.replace(place, from.size(), to);
}

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

TEST_CASE("a record is read back, every number exact", "[CheckpointRecord]") {
  const CheckpointRecord record = full_record(), read = again(record);
  CHECK(read.scalar == record.scalar);
  CHECK(read.step == 12);
  CHECK(read.attempts == 15);
  CHECK(read.collapsed_steps == 4);
  CHECK(bits(read.controller.proportional) == bits(0.1));
  CHECK(bits(read.controller.integral) == bits(-1.0 / 3.0));
  CHECK(read.rng.state() == record.rng.state());
  CHECK(read.data == record.data);
  CHECK(read.metric == record.metric);
  CHECK(read.best == record.best);
  CHECK(read.settings == record.settings);
  const CheckpointRecord plain = again({});
  CHECK_FALSE(plain.metric);
  CHECK_FALSE(plain.best);
  CHECK(plain.settings.empty());
  CHECK(plain.rng.state() == Rng().state());
}

TEST_CASE("doubles come back with all their bits", "[CheckpointRecord]") {
  CheckpointRecord record;
  const auto round_trip = [&](double value) {
    record.controller.integral = value;
    return again(record).controller.integral;
  };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double value :
       {0.0, -0.0, 1.0, 1e16, 0x1p53 + 2, 5e-324, std::numeric_limits<double>::max(), infinity, -infinity})
    CHECK(bits(round_trip(value)) == bits(value));
  CHECK(std::isnan(round_trip(std::nan(""))));
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    const double value = std::bit_cast<double>(rng.next());
    if (std::isfinite(value)) CHECK(bits(round_trip(value)) == bits(value));
  }
}

TEST_CASE("random states come back with all their bits", "[CheckpointRecord]") {
  Rng rng(3);
  CheckpointRecord record;
  for (int i = 0; i < 200; ++i) {
    record.rng = Rng::from_state({rng.next(), rng.next() | (std::uint64_t{1} << 63), 0, ~std::uint64_t{0}});
    CHECK(again(record).rng.state() == record.rng.state());
  }
}

TEST_CASE("settings are any bytes", "[CheckpointRecord]") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  CheckpointRecord record;
  record.settings = {{all, all + all}, {"\xff", "\xc3\xa9"}, {"\xc3\xbf", ""}, {"plain", "text"}};
  CHECK(again(record).settings == record.settings);
  const std::string text = io::to_json(record);
  for (const char c : text) CHECK(static_cast<unsigned char>(c) < 0x80);
}

TEST_CASE("a record is read strictly", "[CheckpointRecord]") {
  const auto refused = [](const std::string& text, const std::string& message) {
    CHECK_THROWS_WITH(parse(text), StartsWith("t: " + message));
    CHECK_THROWS_AS(parse(text), IoError);
  };
  refused("", "file: got an error at byte");
  refused("{}", "format: got no such key");
  refused(changed("merganser checkpoint", "another"), R"(format: got "another", expected "merganser checkpoint")");
  refused(changed(R"("version": 1)", R"("version": 2)"), "version: got 2, expected a whole number in 1 .. 1");
  refused(changed(R"("version": 1)", R"("version": 1, "new": 0)"), "new: got an unknown key");
  refused(changed(R"("step": 12)", R"("step": 12, "step": 12)"), "step: got this key twice");
  refused(changed("F64", "F16"), R"(scalar: got "F16", expected "F32" or "F64")");
  refused(changed(R"("step": 12)", R"("step": -1)"), "step: got -1");
  refused(changed(R"("step": 12)", R"("step": 12.0)"), "step: got 12.0");
  refused(changed(R"("step": 12)", R"("step": 9223372036854775808)"), "step: got 9223372036854775808");
  refused(changed(R"("step": 12)", R"("step": null)"), "step: got null");
  refused(changed(R"("step": 12,)", ""), "step: got no such key");
  refused(changed(R"("attempts": 15)", R"("attempts": 11)"), "attempts: got 11, expected at least the 12 steps");
  refused(changed(R"("controller": {)", R"("controller": {"more": 1,)"), "controller.more: got an unknown key");
  refused(changed(R"("proportional": 0.1)", R"("proportional": "0.1")"), R"(controller.proportional: got "0.1")");
  refused(changed(R"("proportional": 0.1)", R"("proportional": 1e999)"), "file: got ");
  refused(changed(R"("epoch": 18446744073709551615)", R"("epoch": 18446744073709551616)"), "data.epoch: got ");
  refused(changed(R"("epoch": 18446744073709551615)", R"("epoch": -1)"), "data.epoch: got -1");
  refused(changed(R"("position": 9223372036854775807)", R"("position": 9223372036854775808)"), "data.position: got ");
  refused(changed(R"("metric": 0.25)", R"("metric": "good")"), R"(metric: got "good")");
  refused(changed(R"("best": {)", R"("best": [], "was": {)"), "was: got an unknown key");
  refused(changed(R"("step": 7)", R"("step": -7)"), "best.step: got -7");
  refused(changed(R"("--batch": "32")", R"("--batch": 32)"), "settings.--batch: got 32");
  refused(changed(R"("--batch": "32")", R"("--batch": "\u0100")"), "settings.--batch: got ");
  refused(changed(R"("--batch": "32")", R"("--batch": "\u20ac")"), "settings.--batch: got ");

  const std::string head = R"("rng": [)";
  const std::string text = io::to_json(full_record());
  const std::size_t begin = text.find(head), end = text.find(']', begin);
  const auto with_words = [&](const std::string& words) {
    return text.substr(0, begin + head.size()) + words + text.substr(end);
  };
  CHECK(parse(with_words("1, 0, 0, 0")).rng.state() == Rng::State{1, 0, 0, 0});
  refused(with_words("0, 0, 0, 0"), "rng: got 4 zeros");
  refused(with_words("1, 2, 3"), "rng: got an array");
  refused(with_words("1, 2, 3, 4, 5"), "rng: got an array");
  refused(with_words("1, 2, 3, -4"), "rng: got -4");
  refused(with_words("1, 2, 3, 18446744073709551616"), "rng: got ");
  refused(with_words("1, 2, 3, \"4\""), "rng: got ");
}

TEST_CASE("every shorter text is an error, not a crash", "[CheckpointRecord]") {
  const std::string text = io::to_json(full_record());
  for (std::size_t size = 0; size + 2 < text.size(); ++size) CHECK_THROWS_AS(parse(text.substr(0, size)), IoError);
}

}  // namespace checkpoint_record_test
