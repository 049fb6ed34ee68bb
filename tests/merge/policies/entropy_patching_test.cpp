#include <merganser/merge/policies/entropy_patching.hpp>

#include <cmath>
#include <limits>

#include <merganser/merge/policies/segment_pooling.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/policy_laws.hpp"
#include "support/segment_laws.hpp"

namespace entropy_patching_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Flags = Vector<std::uint8_t>;

/// A model that knows what follows each id, and is surer of it the more often it was there.
struct Unsure {
  Vector<double> operator()(std::span<const TokenId> ids) const {
    Vector<double> entropies;
    Vector<double> seen(256, 0.0);
    for (const TokenId id : ids) entropies.push_back(static_cast<double>(id) / (1 + 0.25 * seen[id]++));
    return entropies;
  }
};

using Patching = EntropyPatching<Unsure>;
using Mode = Patching::Mode;

/// Says what it was told, whatever the ids.
struct Given {
  Vector<double> values = {};
  Vector<double> operator()(std::span<const TokenId>) const { return values; }
};

using GivenPatching = EntropyPatching<Given>;

Flags marks_of_entropies(GivenPatching patching) {
  return marks_of(patching, Vector<TokenId>(patching.entropies.values.size(), 1));
}

TEST_CASE("a patch begins behind a token whose entropy is large or rises", "[EntropyPatching]") {
  const Given said{{2.0, 0.5, 1.5, 1.4, 3.0, 0.1, 0.2, 9.0}};
  using GivenMode = GivenPatching::Mode;
  REQUIRE(marks_of_entropies({.entropies = said, .mode = GivenMode::threshold, .threshold = 1.4}) ==
          Flags{1, 1, 0, 1, 0, 1, 0, 0});
  REQUIRE(marks_of_entropies({.entropies = said, .mode = GivenMode::monotonic, .rise = 0.5}) ==
          Flags{1, 0, 0, 1, 0, 1, 0, 0});
  REQUIRE(marks_of_entropies({.entropies = said, .mode = GivenMode::both, .threshold = 1.6, .rise = 0.5}) ==
          Flags{1, 0, 0, 0, 0, 1, 0, 0});
  REQUIRE(marks_of_entropies({.entropies = said, .mode = GivenMode::top_k, .patch_size = 2}) ==
          Flags{1, 1, 0, 1, 0, 1, 0, 0});
  REQUIRE(marks_of_entropies({.entropies = said, .mode = GivenMode::top_k, .patch_size = 9}) ==
          Flags{1, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("the published patching begins one at the second token and never reads the first entropy",
          "[EntropyPatching]") {
  const Given said{{0.0, 2.0, 4.0, 4.5, 9.0, 1.0, 1.0}};
  using GivenMode = GivenPatching::Mode;
  const auto published = [&](GivenMode mode, Index patch_size = 2) {
    return marks_of_entropies({said, mode, 1.5, 0.4, patch_size, Starts::published});
  };
  REQUIRE(published(GivenMode::threshold) == Flags{1, 1, 1, 1, 1, 1, 0});
  REQUIRE(published(GivenMode::monotonic) == Flags{1, 1, 1, 1, 1, 1, 0});
  REQUIRE(published(GivenMode::both) == Flags{1, 1, 1, 0, 1, 1, 0});
  REQUIRE(published(GivenMode::top_k) == Flags{1, 1, 0, 0, 0, 1, 0});
  REQUIRE(published(GivenMode::top_k, 7) == Flags{1, 1, 0, 0, 0, 0, 0});
  for (const Index n : {0, 1, 2, 3})
    for (const GivenMode mode : {GivenMode::threshold, GivenMode::monotonic, GivenMode::both, GivenMode::top_k})
      REQUIRE(marks_of_entropies({.entropies = {Vector<double>(n, 0.0)}, .mode = mode, .starts = Starts::published})
                  .size() == n);
}

TEST_CASE("a call says how many patches there are", "[EntropyPatching]") {
  const Matrix<double> x = Matrix<double>::Zero(6, 1);
  const Vector<TokenId> ids = {1, 5, 2, 4, 3, 6};
  Tokens<double> tokens{x, {}};
  tokens.ids = ids;
  for (Index removals = 0; removals < 9; ++removals) {
    tokens.removals = removals;
    const Flags marks = Patching{.mode = Mode::top_k}.marks(tokens);
    REQUIRE(std::count(marks.begin(), marks.end(), std::uint8_t{1}) == std::max<Index>(6 - removals, 1));
  }
}

TEST_CASE("rules of entropies keep the laws of rules and of policies", "[EntropyPatching]") {
  for (const Mode mode : {Mode::threshold, Mode::monotonic, Mode::both, Mode::top_k})
    for (const Starts starts : {Starts::first_token, Starts::published}) {
      const Patching patching{.mode = mode, .threshold = 2.1, .rise = 1.1, .patch_size = 3, .starts = starts};
      require_segment_laws(patching);
      if (starts == Starts::published) continue;  // never fewer than two segments
      require_policy_laws([&]<Real>() { return SegmentPooling<Patching>{patching, SegmentPool::largest}; });
    }
  REQUIRE(SegmentPooling<Patching>{}.traits().is_causal);
  REQUIRE_FALSE(SegmentPooling<Patching>{{.mode = Mode::top_k}}.traits().is_causal);
}

TEST_CASE("entropies of logits are those of their softmax", "[entropies_of_logits]") {
  Matrix<double> logits(4, 2);
  const double infinite = std::numeric_limits<double>::infinity();
  logits << 7, 7, 0, std::log(3.0), 1000, -1000, 3, -infinite;
  const Vector<double> entropies = entropies_of_logits<double>(logits);
  REQUIRE(std::abs(entropies[0] - std::log(2.0)) < 1e-15);
  REQUIRE(std::abs(entropies[1] - (std::log(4.0) - 0.75 * std::log(3.0))) < 1e-15);
  REQUIRE(entropies[2] == 0.0);
  REQUIRE(entropies[3] == 0.0);
  REQUIRE(entropies_of_logits<double>(Matrix<double>(0, 3)).empty());
}

TEST_CASE("settings and entropies that do not fit are named, and numbers that are none end", "[EntropyPatching]") {
  REQUIRE(argument_error([] { marks_of(Patching{.patch_size = 0}, {1}); }) ==
          "EntropyPatching: patch_size: got 0, expected at least 1");
  REQUIRE(argument_error([] {
            marks_of(GivenPatching{.entropies = {{1.0}}}, {1, 2});
          }) == "EntropyPatching: entropies.size(): got 1, expected 2");
  const Matrix<double> x = Matrix<double>::Zero(2, 1);
  REQUIRE(argument_error([&] {
            Patching{}.marks(Tokens<double>{x, {}});
          }) == "EntropyPatching: ids.size(): got 0, expected 2");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto mode : {GivenPatching::Mode::threshold, GivenPatching::Mode::monotonic, GivenPatching::Mode::both})
    REQUIRE(marks_of_entropies({.entropies = {Vector<double>(5, nan)}, .mode = mode}) == Flags{1, 0, 0, 0, 0});
  REQUIRE(marks_of_entropies(
              {.entropies = {{nan, 1, nan, 2, nan, nan}}, .mode = GivenPatching::Mode::top_k, .patch_size = 2}) ==
          Flags{1, 0, 1, 0, 1, 0});
}

}  // namespace entropy_patching_test
