#include <merganser/models/model_output.hpp>

#include <type_traits>

#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sequence_classifier.hpp>

#include "support/catch.hpp"

namespace model_output_test {

using namespace merganser;
using namespace merganser::models;

TEST_CASE("all models give and take the same types", "[ModelOutput]") {
  STATIC_REQUIRE(std::is_same_v<EncoderDecoder<float>::Output, ModelOutput<float>>);
  STATIC_REQUIRE(std::is_same_v<SequenceClassifier<float>::Output, ModelOutput<float>>);
  STATIC_REQUIRE(std::is_same_v<EncoderDecoder<double>::OutputGradients, ModelOutputGradients<double>>);
  STATIC_REQUIRE(std::is_same_v<SequenceClassifier<double>::OutputGradients, ModelOutputGradients<double>>);
}

TEST_CASE("without a gate and a penalty there is nothing but logits", "[ModelOutput]") {
  const ModelOutput<float> output;
  REQUIRE(output.score_excess == 0.0);
  REQUIRE(output.encoded.reports.empty());
  const ModelOutputGradients<float> gradients;
  REQUIRE(gradients.score_excess == 0.0);
  REQUIRE(gradients.reports.empty());
}

}  // namespace model_output_test
