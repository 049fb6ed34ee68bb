// Span corruption against the reference's arithmetic, and the laws of its random masks.
#include <merganser/data/span_corruption.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

namespace span_corruption_test {

using namespace merganser;
using data::Example;
using data::SpanCorruption;

using Ids = std::vector<TokenId>;

const nlohmann::json& golden() {
  static const auto file = nlohmann::json::parse(std::ifstream(MERGANSER_GOLDEN_DIR "/span_corruption.json"));
  return file;
}

SpanCorruption make(double noise_density, double mean_span) {
  return SpanCorruption({.noise_density = noise_density, .mean_span = mean_span});
}

Index span_count(const std::vector<bool>& mask) {
  Index spans = 0;
  for (std::size_t i = 0; i < mask.size(); ++i) spans += mask[i] && (i == 0 || !mask[i - 1]) ? 1 : 0;
  return spans;
}

TEST_CASE("Lengths are those of the reference", "[data][span_corruption][golden]") {
  REQUIRE_FALSE(golden().at("lengths").empty());
  for (const auto& row : golden().at("lengths")) {
    const auto lengths = make(row.at(1).get<double>(), row.at(2).get<double>()).lengths(row.at(0).get<Index>());
    INFO(row.dump());
    CHECK(lengths.tokens == row.at(3).get<Index>());
    CHECK(lengths.targets == row.at(4).get<Index>());
  }
}

TEST_CASE("Masks have the reference's counts and ends", "[data][span_corruption][golden]") {
  REQUIRE_FALSE(golden().at("mask_counts").empty());
  Rng rng(7);
  for (const auto& row : golden().at("mask_counts")) {
    const SpanCorruption corruption = make(row.at(1).get<double>(), row.at(2).get<double>());
    const Index length = row.at(0).get<Index>();
    INFO(row.dump());
    CHECK(corruption.noise_counts(length).tokens == row.at(3).get<Index>());
    CHECK(corruption.noise_counts(length).spans == row.at(4).get<Index>());
    const std::vector<bool> mask = corruption.noise_mask(length, rng);
    REQUIRE(static_cast<Index>(mask.size()) == length);
    CHECK(std::count(mask.begin(), mask.end(), true) == row.at(3).get<Index>());
    CHECK(span_count(mask) == row.at(4).get<Index>());
    CHECK(mask.front() == (row.at(5).get<int>() == 1));
    CHECK(mask.back() == (row.at(6).get<int>() == 1));
  }
}

TEST_CASE("Source and target for a mask are those of the reference", "[data][span_corruption][golden]") {
  REQUIRE_FALSE(golden().at("examples").empty());
  for (const auto& row : golden().at("examples")) {
    std::vector<bool> mask;
    for (const int noise : row.at("noise_mask").get<std::vector<int>>()) mask.push_back(noise == 1);
    const Example example = SpanCorruption().apply(row.at("ids").get<Ids>(), mask);
    INFO(row.at("how").get<std::string>());
    CHECK(example.source == row.at("input_ids").get<Ids>());
    CHECK(example.target == row.at("labels").get<Ids>());
    Ids shifted{0};
    shifted.insert(shifted.end(), example.target.begin(), example.target.end() - 1);
    CHECK(shifted == row.at("decoder_input_ids").get<Ids>());
  }
}

TEST_CASE("Chunks are those of the reference", "[data][span_corruption][golden]") {
  const auto& chunking = golden().at("chunking");
  const auto texts = chunking.at("texts").get<std::vector<std::string>>();
  CHECK(data::chunk_texts(texts, chunking.at("chunk_size").get<Index>()) ==
        chunking.at("chunks").get<std::vector<Ids>>());
  CHECK(data::chunk_texts(texts, 1000).empty());
  CHECK(data::chunk_texts({}, 4).empty());
  CHECK(data::chunk_texts(std::vector<std::string>{"", ""}, 1) == std::vector<Ids>{{1}, {1}});
  CHECK_THROWS_AS(data::chunk_texts(texts, 0), std::invalid_argument);
}

TEST_CASE("Corrupting takes nothing away and invents nothing", "[data][span_corruption]") {
  Rng rng(5);
  for (const Index length : {0, 1, 2, 3, 17, 200}) {
    Ids ids;
    for (Index i = 0; i < length; ++i) ids.push_back(static_cast<TokenId>(1000 + i));
    const Example example = make(0.3, 2.5).corrupt(ids, rng);
    REQUIRE(example.source.back() == 1);
    REQUIRE(example.target.back() == 1);
    Ids kept;
    for (const Ids& side : {example.source, example.target})
      std::copy_if(side.begin(), side.end(), std::back_inserter(kept), [](TokenId id) { return id >= 1000; });
    std::sort(kept.begin(), kept.end());
    CHECK(kept == ids);
  }
}

TEST_CASE("A made-to-length source has the wanted length", "[data][span_corruption]") {
  Rng rng(9);
  const SpanCorruption corruption = make(0.15, 20.0);
  const auto lengths = corruption.lengths(128);
  const Example example = corruption.corrupt(Ids(static_cast<std::size_t>(lengths.tokens), 50), rng);
  CHECK(example.source.size() == 128);
  CHECK(static_cast<Index>(example.target.size()) == lengths.targets);
}

TEST_CASE("Every mask is equally likely", "[data][span_corruption]") {
  // 3 noise tokens of 8 in 2 spans: 2 cuts of the noise, 4 of the clean tokens, 8 masks.
  const SpanCorruption corruption = make(0.375, 1.5);
  REQUIRE(corruption.noise_counts(8).tokens == 3);
  REQUIRE(corruption.noise_counts(8).spans == 2);
  Rng rng(1);
  std::map<std::vector<bool>, int> seen;
  constexpr int draws = 8000;
  for (int i = 0; i < draws; ++i) ++seen[corruption.noise_mask(8, rng)];
  CHECK(seen.size() == 8);
  // Five standard deviations of a binomial with chance 1/8.
  for (const auto& [mask, times] : seen) CHECK(std::abs(times - draws / 8) < 150);
}

TEST_CASE("The same seed gives the same example", "[data][span_corruption]") {
  const Ids ids(100, 7);
  Rng first(4);
  Rng second(4);
  Rng other(5);
  const SpanCorruption corruption = make(0.15, 3.0);
  const Example example = corruption.corrupt(ids, first);
  CHECK(example == corruption.corrupt(ids, second));
  CHECK_FALSE(example == corruption.corrupt(ids, other));
}

TEST_CASE("Sequences too short for noise stay clean", "[data][span_corruption]") {
  Rng rng(2);
  CHECK(SpanCorruption().corrupt({}, rng) == Example{{1}, {1}});
  CHECK(SpanCorruption().corrupt(Ids{65}, rng) == Example{{65, 1}, {258, 1}});
  CHECK(SpanCorruption().corrupt(Ids{65, 66}, rng) == Example{{65, 258, 1}, {258, 66, 1}});
  // At densities that round to all or to nothing, one token of either kind is left.
  CHECK(make(0.9999, 1.0).noise_counts(10).tokens == 9);
  CHECK(make(0.9999, 1.0).noise_counts(10).spans == 1);
  CHECK(make(0.0001, 1.0).noise_counts(10).tokens == 1);
}

TEST_CASE("First sentinel and end of sequence can be chosen", "[data][span_corruption]") {
  const SpanCorruption corruption({.first_sentinel = 383, .eos_id = 2});
  CHECK(corruption.apply(Ids{10, 11, 12, 13}, {true, false, false, true}) ==
        Example{{383, 11, 12, 382, 2}, {10, 383, 13, 2}});
}

TEST_CASE("Span corruption refuses what it cannot do", "[data][span_corruption]") {
  for (const double density : {0.0, 1.0, -0.1, 1.5, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(make(density, 3.0), std::invalid_argument);
  for (const double span :
       {0.0, 0.5, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(make(0.15, span), std::invalid_argument);
  CHECK_THROWS_AS(SpanCorruption({.first_sentinel = 2}), std::invalid_argument);
  CHECK_THROWS_AS(SpanCorruption().lengths(0), std::invalid_argument);
  CHECK_THROWS_AS(SpanCorruption().noise_counts(-1), std::invalid_argument);
  CHECK_THROWS_WITH(SpanCorruption().apply(Ids{5, 6}, {true}), Catch::Matchers::ContainsSubstring("got 1, expected 2"));

  // 256 sentinels from 258 down to 3 are enough for 256 spans, not for 257.
  std::vector<bool> mask;
  for (int i = 0; i < 256; ++i) mask.insert(mask.end(), {false, true});
  CHECK(SpanCorruption().apply(Ids(512, 70), mask).source.at(511) == 3);
  mask.insert(mask.end(), {false, true});
  CHECK_THROWS_AS(SpanCorruption().apply(Ids(514, 70), mask), std::invalid_argument);
}

}  // namespace span_corruption_test
