// Denoising: rates, shares, and what must never change.
#include <merganser/data/denoising.hpp>

#include <array>
#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace denoising_test {

using namespace merganser;
using data::ByteTokenizer;
using data::denoise;
using data::DenoisingConfig;
using data::Example;

using Ids = std::vector<TokenId>;

Ids random_byte_ids(std::size_t count, Rng& rng) {
  Ids ids;
  for (std::size_t i = 0; i < count; ++i) ids.push_back(static_cast<TokenId>(rng.below(256)) + 3);
  return ids;
}

struct Counts {
  double masked = 0;
  double replaced = 0;
};

/// Shares of the tokens before the final end of sequence.
Counts count_changes(const Example& example) {
  Counts counts;
  for (std::size_t i = 0; i + 1 < example.target.size(); ++i) {
    if (example.source[i] == example.target[i]) continue;
    (example.source[i] == ByteTokenizer::first_extra_id ? counts.masked : counts.replaced) += 1;
  }
  const auto tokens = static_cast<double>(example.target.size() - 1);
  return {counts.masked / tokens, counts.replaced / tokens};
}

TEST_CASE("The target is the clean text, and both sides end", "[data][denoising]") {
  Rng rng(1);
  for (const std::size_t length : std::vector<std::size_t>{0, 1, 50}) {
    const Ids clean = random_byte_ids(length, rng);
    const Example example = denoise(clean, {.rate = 0.5, .mask_share = 0.5}, rng);
    REQUIRE(example.source.size() == length + 1);
    REQUIRE(example.target.size() == length + 1);
    CHECK(Ids(example.target.begin(), example.target.end() - 1) == clean);
    CHECK(example.target.back() == 1);
    CHECK(example.source.back() == 1);
  }
}

TEST_CASE("Tokens are corrupted at the given rate and shares", "[data][denoising]") {
  Rng rng(2);
  const Ids clean = random_byte_ids(40000, rng);
  const auto [rate, share] = GENERATE(table<double, double>({{0.1, 1.0}, {0.3, 0.0}, {0.2, 0.8}, {1.0, 0.25}}));
  const Counts counts = count_changes(denoise(clean, {.rate = rate, .mask_share = share}, rng));
  // Four standard deviations of a share of 40,000 draws are at most 0.01.
  CHECK_THAT(counts.masked, Catch::Matchers::WithinAbs(rate * share, 0.01));
  CHECK_THAT(counts.replaced, Catch::Matchers::WithinAbs(rate * (1 - share), 0.01));
}

TEST_CASE("The default masks a tenth with the first extra id", "[data][denoising]") {
  Rng rng(3);
  const Counts counts = count_changes(denoise(Ids(20000, 100), {}, rng));
  CHECK_THAT(counts.masked, Catch::Matchers::WithinAbs(0.1, 0.01));
  CHECK(counts.replaced == 0);
}

TEST_CASE("The ends of the rate are exact", "[data][denoising]") {
  Rng rng(4);
  const Ids clean = random_byte_ids(500, rng);
  CHECK(denoise(clean, {.rate = 0}, rng).source == denoise(clean, {.rate = 0}, rng).target);
  Ids all_masked(500, 300);
  all_masked.push_back(1);
  CHECK(denoise(clean, {.rate = 1, .mask_id = 300}, rng).source == all_masked);
}

TEST_CASE("A replaced byte becomes any other byte, never itself", "[data][denoising]") {
  Rng rng(5);
  for (const TokenId clean : {3, 100, 258}) {
    const Example example = denoise(Ids(20000, clean), {.rate = 1, .mask_share = 0}, rng);
    std::array<int, 256> seen{};
    for (std::size_t i = 0; i < 20000; ++i) ++seen.at(static_cast<std::size_t>(example.source[i] - 3));
    int never = 0;
    for (const int times : seen) never += times == 0 ? 1 : 0;
    CHECK(never == 1);
    CHECK(seen.at(static_cast<std::size_t>(clean - 3)) == 0);
  }
}

TEST_CASE("Ends of sequence inside the text stay", "[data][denoising]") {
  Rng rng(6);
  const Example example = denoise(Ids{50, 1, 60, 1, 1}, {.rate = 1}, rng);
  CHECK(example.source == Ids{259, 1, 259, 1, 1, 1});
}

TEST_CASE("Ids that are no bytes are corrupted too", "[data][denoising]") {
  Rng rng(7);
  const Example example = denoise(Ids(300, 5000), {.rate = 1, .mask_share = 0}, rng);
  for (std::size_t i = 0; i < 300; ++i) REQUIRE(ByteTokenizer::is_byte_id(example.source[i]));
}

TEST_CASE("Denoising repeats from its seed and checks its numbers", "[data][denoising]") {
  const Ids clean(200, 90);
  Rng first(8);
  Rng second(8);
  Rng other(9);
  const Example example = denoise(clean, {.rate = 0.4}, first);
  CHECK(example == denoise(clean, {.rate = 0.4}, second));
  CHECK_FALSE(example == denoise(clean, {.rate = 0.4}, other));
  for (const double wrong : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(denoise(clean, {.rate = wrong}, first), std::invalid_argument);
    CHECK_THROWS_AS(denoise(clean, {.mask_share = wrong}, first), std::invalid_argument);
  }
}

}  // namespace denoising_test
