// Any text as a generation_config.json.
#include <cmath>

#include <nlohmann/json.hpp>

#include <merganser/io/models/generation_config.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

namespace {

std::string text_of(const io::GenerationConfig& config) {
  nlohmann::json object = nlohmann::json::object();
  const auto put = [&object](const char* key, const auto& value) {
    if (value) object[key] = *value;
  };
  put("max_length", config.max_length);
  put("max_new_tokens", config.max_new_tokens);
  put("pad_token_id", config.pad_token_id);
  put("decoder_start_token_id", config.decoder_start_token_id);
  put("do_sample", config.do_sample);
  put("temperature", config.temperature);
  put("top_k", config.top_k);
  put("top_p", config.top_p);
  put("num_beams", config.num_beams);
  put("length_penalty", config.length_penalty);
  if (config.early_stopping == models::EarlyStopping::when_impossible)
    object["early_stopping"] = "never";
  else if (config.early_stopping)
    object["early_stopping"] = *config.early_stopping == models::EarlyStopping::when_full;
  object["eos_token_id"] = config.eos_token_id;
  return object.dump();
}

}  // namespace

void run(std::string_view text) {
  const auto config = unless_refused([&] { return io::parse_generation_config(text, "generation"); });
  if (!config) return;
  for (const auto& count : {config->max_length, config->max_new_tokens, config->num_beams})
    require(!count || *count >= 1, "counts are positive");
  for (const TokenId id : config->eos_token_id) require(id >= 0, "ids are not negative");
  require(!config->temperature || (*config->temperature >= 0 && std::isfinite(*config->temperature)), "a temperature");
  require(!config->top_p || (*config->top_p >= 0 && *config->top_p <= 1), "a share");
  require(!config->length_penalty || std::isfinite(*config->length_penalty), "a finite penalty");
  require(io::parse_generation_config(text_of(*config), "again") == *config, "the wishes come back");
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
