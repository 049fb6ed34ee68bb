// A comparison of modes, and its JSON.
#include <merganser/runs/model_comparison.hpp>

#include <string>

#include <merganser/runs/model_design.hpp>
#include <merganser/runs/training_data.hpp>

#include "runs/small_text_model.hpp"
#include "support/catch.hpp"

namespace model_comparison_test {

using namespace merganser;
using namespace merganser::runs;
using namespace merganser::testing;

TEST_CASE("hard deletion is measured the same alone, and JSON has it", "[model_comparison]") {
  const TrainOptions options = small_run();
  const TextModel model = make_model(design_model(options.model, std::nullopt), 1);
  const auto examples = open_evaluation_data(options.data, 5, 1);
  merge::DeletionOptions half;
  half.target_rate = 0.5;
  const ModelComparison comparison = compare_modes(model, examples, {}, 1);
  CHECK(evaluate_hard(model, examples, 1).bits_per_byte == comparison.measured.hard.bits_per_byte);
  CHECK(comparison.measured.none.sequences == 5);
  const ModelComparison deleted = compare_modes(model, examples, half, 1);
  CHECK(deleted.measured.hard.deletion_rate > 0.4);
  CHECK(deleted.predicted_speed_up > 1);
  const io::JsonRecord json(to_json(deleted).line(), "report", "text");
  CHECK(json.get<io::JsonRecord>("hard").get<double>("bits_per_byte") == deleted.measured.hard.bits_per_byte);
  CHECK(json.get<io::JsonRecord>("denominators").get<Index>("sequences") == 5);
  CHECK(json.get<double>("predicted_speed_up") == deleted.predicted_speed_up);
}

}  // namespace model_comparison_test
