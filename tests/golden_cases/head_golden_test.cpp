// The head and what it reads, as transformers 4 and 5 write it down: golden cases with other keys in their config.json.
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "golden_cases/golden_case.hpp"
#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace merganser::testing {
namespace head_golden_test {

using Model = models::EncoderDecoder<float>;
namespace fs = std::filesystem;

/// One directory: the weights of a case, keys of its config.json, and what becomes of the case's logits.
struct Row {
  const char* golden;
  const char* prefix;
  bool tie_word_embeddings;
  std::optional<bool> scale_decoder_outputs;
  models::Head head;
  double exponent;  ///< logits are those of the case times D^exponent
};

const std::vector<Row> rows{
    // A file with a head of its own: version 4, version 5, and the two that only we write.
    {"byt5_plain", "out.", false, {}, models::Head::untied, 0},
    {"byt5_plain", "out.", true, false, models::Head::untied, 0},
    {"byt5_plain", "out.", true, {}, models::Head::untied, -0.5},
    {"byt5_plain", "out.", false, true, models::Head::untied, -0.5},
    // A file without: version 4, version 5 of an old model and of a new one.
    {"mrt5_relu_tied", "soft.", true, {}, models::Head::tied, 0},
    {"mrt5_relu_tied", "soft.", true, true, models::Head::tied, 0},
    {"mrt5_relu_tied", "soft.", true, false, models::Head::tied, 0.5},
};

std::vector<double> logits_of(const Model& model, const io::SafetensorsFile& file, const std::string& prefix) {
  const GoldenBatch batch = GoldenBatch::padded(file.integers("input_ids"), file.integers("attention_mask"),
                                                Padded::of(file, "input_ids").batch);
  Model::ForwardOptions options;
  options.deletion.mode = prefix == "out." ? merge::DeletionMode::none : merge::DeletionMode::soft;
  options.hidden = batch.hidden;
  return to_numbers(model.forward_targets(batch.tokens, labels_of(file, "labels"), options).logits);
}

TEST_CASE("own head if the file has one; scaled as the file says, else as the tie does", "[golden][head]") {
  for (const Row& row : rows) {
    CAPTURE(row.golden, row.tie_word_embeddings, row.scale_decoder_outputs.value_or(row.tie_word_embeddings));
    const fs::path golden = fs::path(golden_dir()) / row.golden;
    const TemporaryDirectory directory;
    fs::copy_file(golden / "model.safetensors", directory / "model.safetensors");
    nlohmann::json config = read_json(golden / "config.json");
    config["tie_word_embeddings"] = row.tie_word_embeddings;
    if (row.scale_decoder_outputs) config["scale_decoder_outputs"] = *row.scale_decoder_outputs;
    io::write_file_atomically(directory / "config.json", config.dump());

    const io::SafetensorsFile file = io::SafetensorsFile::open(golden / "case.safetensors");
    std::vector<double> expected = to_numbers(file.folded_matrix<double>(row.prefix + std::string("logits")));
    const double factor = std::pow(config["d_model"].get<double>(), row.exponent);
    for (double& logit : expected) logit *= factor;

    GoldenReport report;
    const Model model = io::load_model<float>(directory.path());
    CHECK(model.config().head == row.head);
    report.compare<float>("trainable", logits_of(model, file, row.prefix), expected);
    report.compare<float>("inference", logits_of(io::load_for_inference<float>(directory.path()), file, row.prefix),
                          expected);
    io::save_model(model, directory / "saved");
    const Model saved = io::load_model<float>(directory / "saved");
    CHECK(saved.config().head == row.head);
    CHECK(logits_of(saved, file, row.prefix) == logits_of(model, file, row.prefix));
    for (const std::string& miss : report.misses()) FAIL_CHECK(miss);
    CHECK_FALSE(report.failed());
  }
}

}  // namespace head_golden_test
}  // namespace merganser::testing
