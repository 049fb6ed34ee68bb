// Bits per byte: values by hand, large logits, ignored labels, the denominator.
#include <merganser/evaluation/bits_per_byte.hpp>

#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/nn/cross_entropy.hpp>
#include "support/catch.hpp"

namespace bits_per_byte_test {

using namespace merganser;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using evaluation::BitsPerByte;
using evaluation::label_bits;

TEST_CASE("A nat is 1.4427 bits", "[evaluation][bits_per_byte]") {
  CHECK_THAT(evaluation::bits_from_nats(1.0), WithinAbs(1.4426950408889634, 1e-15));
  CHECK_THAT(evaluation::bits_from_nats(std::numbers::ln2 * 3), WithinAbs(3.0, 1e-15));
}

TEMPLATE_TEST_CASE("Probabilities that are powers of two cost whole bits", "[evaluation][bits_per_byte]", float,
                   double) {
  // 2^0 : 2^1 : 2^1 : 2^0 : 2^1 over their sum 8.
  const auto one = static_cast<TestType>(std::numbers::ln2);
  const std::vector<TestType> logits{0, one, one, 0, one};
  CHECK_THAT(label_bits<TestType>(logits, 0), WithinAbs(3.0, 1e-6));
  CHECK_THAT(label_bits<TestType>(logits, 4), WithinAbs(2.0, 1e-6));
  const std::vector<TestType> alone{-7};
  CHECK(label_bits<TestType>(alone, 0) == 0.0);
}

TEMPLATE_TEST_CASE("Only differences of logits count, however large", "[evaluation][bits_per_byte]", float, double) {
  const TestType huge = std::numeric_limits<TestType>::max() / 4;
  CHECK_THAT(label_bits<TestType>(std::vector<TestType>{huge, huge}, 1), WithinAbs(1.0, 1e-12));
  CHECK_THAT(label_bits<TestType>(std::vector<TestType>{-huge, -huge}, 1), WithinAbs(1.0, 1e-12));
  CHECK_THAT(label_bits<TestType>(std::vector<TestType>{1000, 0}, 1), WithinRel(1000 / std::numbers::ln2, 1e-12));
  CHECK(label_bits<TestType>(std::vector<TestType>{1000, 0}, 0) == 0.0);
}

TEMPLATE_TEST_CASE("Logits that are not finite do not pass as probabilities", "[evaluation][bits_per_byte]", float,
                   double) {
  const TestType infinity = std::numeric_limits<TestType>::infinity();
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN();
  CHECK(label_bits<TestType>(std::vector<TestType>{-infinity, 0}, 0) == std::numeric_limits<double>::infinity());
  CHECK(label_bits<TestType>(std::vector<TestType>{-infinity, 0}, 1) == 0.0);
  CHECK(std::isnan(label_bits<TestType>(std::vector<TestType>{nan, 0}, 1)));
  CHECK(std::isnan(label_bits<TestType>(std::vector<TestType>{0, nan}, 0)));
  CHECK(std::isnan(label_bits<TestType>(std::vector<TestType>{infinity, 0}, 0)));
}

TEST_CASE("Bits of all scored labels over source tokens that are not the end", "[evaluation][bits_per_byte]") {
  Matrix<double> logits = Matrix<double>::Zero(3, 4);  // 2 bits a label
  BitsPerByte bits;
  bits.add_labels(logits, std::vector<TokenId>{3, ignored_label, 0});
  bits.add_source(std::vector<TokenId>{70, 71, 1, 72, 1}, 1);
  CHECK_THAT(bits.bits(), WithinAbs(4.0, 1e-12));
  CHECK(bits.labels() == 2);
  CHECK(bits.bytes() == 3);
  CHECK_THAT(bits.bits_per_byte(), WithinAbs(4.0 / 3, 1e-12));
  CHECK_THAT(bits.bits_per_label(), WithinAbs(2.0, 1e-12));

  bits.add_source(std::vector<TokenId>{1, 1, 0}, 0);  // another end id
  CHECK(bits.bytes() == 5);
  bits.add_labels(logits, std::vector<TokenId>{1, 2, 3});
  CHECK_THAT(bits.bits_per_byte(), WithinAbs(2.0, 1e-12));
}

TEST_CASE("It agrees with the cross entropy that training minimises", "[evaluation][bits_per_byte]") {
  Rng rng(3);
  Matrix<double> logits(17, 11);
  for (Index i = 0; i < logits.size(); ++i) logits.data()[i] = 5 * rng.normal();
  std::vector<TokenId> labels;
  for (int t = 0; t < 17; ++t) labels.push_back(t % 5 == 2 ? ignored_label : static_cast<TokenId>(rng.below(11)));
  const auto loss = nn::CrossEntropy<double>().forward(logits, labels);
  BitsPerByte bits;
  bits.add_labels(logits, labels);
  CHECK(bits.labels() == loss.counted);
  CHECK_THAT(bits.bits_per_label(), WithinRel(evaluation::bits_from_nats(loss.mean), 1e-12));
}

TEST_CASE("Nothing costs nothing, and bits for no bytes are infinitely many", "[evaluation][bits_per_byte]") {
  BitsPerByte bits;
  CHECK(bits.bits_per_byte() == 0.0);
  CHECK(bits.bits_per_label() == 0.0);
  bits.add_source(std::vector<TokenId>{}, 1);
  bits.add_labels(Matrix<float>(0, 4), std::vector<TokenId>{});
  CHECK(bits.bits_per_byte() == 0.0);
  bits.add_labels(Matrix<float>(Matrix<float>::Zero(1, 4)), std::vector<TokenId>{2});
  CHECK(bits.bits_per_byte() == std::numeric_limits<double>::infinity());
}

TEST_CASE("A refused label changes nothing", "[evaluation][bits_per_byte]") {
  BitsPerByte bits;
  const Matrix<float> logits = Matrix<float>::Zero(2, 4);
  CHECK_THROWS_AS(bits.add_labels(logits, std::vector<TokenId>{0, 4}), std::invalid_argument);
  CHECK_THROWS_AS(bits.add_labels(logits, std::vector<TokenId>{0}), std::invalid_argument);
  CHECK(bits.bits() == 0.0);
  CHECK(bits.labels() == 0);
}

}  // namespace bits_per_byte_test
