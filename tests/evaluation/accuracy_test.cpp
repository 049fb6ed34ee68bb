// Accuracy: counts by hand, ties, NaN, sequences without labels.
#include <merganser/evaluation/accuracy.hpp>

#include <limits>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

namespace accuracy_test {

using namespace merganser;
using evaluation::Accuracy;
using evaluation::is_largest;

/// One row a choice: 1 at the chosen column, 0 elsewhere.
Matrix<float> logits_choosing(const std::vector<Index>& choices, Index columns) {
  Matrix<float> logits = Matrix<float>::Zero(static_cast<Index>(choices.size()), columns);
  for (std::size_t t = 0; t < choices.size(); ++t) logits(static_cast<Index>(t), choices[t]) = 1;
  return logits;
}

TokenBatch batch_of(const std::vector<std::vector<TokenId>>& sequences) {
  return TokenBatch::from_sequences(sequences);
}

TEST_CASE("Accuracy reads no further than its labels", "[evaluation][accuracy]") {
  evaluation::Accuracy accuracy;
  TokenBatch labels = TokenBatch::from_sequences({{0, 1}});
  labels.offsets.push_back(3);
  CHECK_THROWS_AS(accuracy.add(Matrix<float>(Matrix<float>::Zero(2, 3)), labels), std::invalid_argument);
}

TEMPLATE_TEST_CASE("Of equal logits the first counts, with NaN none does", "[evaluation][accuracy]", float, double) {
  const std::vector<TestType> logits{1, 3, 3, 2};
  CHECK_FALSE(is_largest<TestType>(logits, 0));
  CHECK(is_largest<TestType>(logits, 1));
  CHECK_FALSE(is_largest<TestType>(logits, 2));
  CHECK_FALSE(is_largest<TestType>(logits, 3));
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN();
  for (TokenId label = 0; label < 3; ++label) {
    CHECK_FALSE(is_largest<TestType>(std::vector<TestType>{nan, 1, 2}, label));
    CHECK_FALSE(is_largest<TestType>(std::vector<TestType>{1, 2, nan}, label));
    CHECK_FALSE(is_largest<TestType>(std::vector<TestType>{nan, nan, nan}, label));
  }
  CHECK(is_largest<TestType>(std::vector<TestType>{-std::numeric_limits<TestType>::infinity()}, 0));
}

TEST_CASE("Tokens and sequences are counted", "[evaluation][accuracy]") {
  Accuracy accuracy;
  accuracy.add(logits_choosing({0, 1, 2, 3, 4, 0}, 5), batch_of({{0, 1}, {2, 0, 4}, {0}}));
  CHECK(accuracy.tokens() == 6);
  CHECK(accuracy.correct_tokens() == 5);
  CHECK(accuracy.sequences() == 3);
  CHECK(accuracy.correct_sequences() == 2);
  CHECK(accuracy.token_accuracy() == 5.0 / 6);
  CHECK(accuracy.sequence_accuracy() == 2.0 / 3);

  accuracy.add(logits_choosing({1, 1}, 5), batch_of({{2}, {1}}));
  CHECK(accuracy.token_accuracy() == 6.0 / 8);
  CHECK(accuracy.sequence_accuracy() == 3.0 / 5);
}

TEST_CASE("Ignored labels and sequences without labels do not count", "[evaluation][accuracy]") {
  const TokenId ignored = ignored_label;
  Accuracy accuracy;
  accuracy.add(logits_choosing({0, 1, 1, 1, 2}, 3), batch_of({{ignored, 1}, {}, {ignored, ignored}, {0}}));
  CHECK(accuracy.tokens() == 2);
  CHECK(accuracy.correct_tokens() == 1);
  CHECK(accuracy.sequences() == 2);
  CHECK(accuracy.correct_sequences() == 1);
}

TEST_CASE("Of nothing nothing is right", "[evaluation][accuracy]") {
  Accuracy accuracy;
  CHECK(accuracy.token_accuracy() == 0.0);
  CHECK(accuracy.sequence_accuracy() == 0.0);
  accuracy.add(Matrix<float>(0, 3), batch_of({{}, {}}));
  CHECK(accuracy.sequences() == 0);
  CHECK(accuracy.sequence_accuracy() == 0.0);
}

TEST_CASE("Refused labels change nothing", "[evaluation][accuracy]") {
  Accuracy accuracy;
  CHECK_THROWS_AS(accuracy.add(logits_choosing({0, 0}, 3), batch_of({{0}, {3}})), std::invalid_argument);
  CHECK_THROWS_AS(accuracy.add(logits_choosing({0, 0}, 3), batch_of({{0}})), std::invalid_argument);
  CHECK(accuracy.tokens() == 0);
}

}  // namespace accuracy_test
