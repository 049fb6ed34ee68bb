// byte_demo show: a text with its deleted bytes marked.
#include <algorithm>
#include <iostream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/special_tokens.hpp>
#include <merganser/data/text_corpus.hpp>
#include <merganser/evaluation/deletion_layout.hpp>
#include <merganser/evaluation/deletion_report.hpp>
#include <merganser/io/atomic_file.hpp>

#include <model.hpp>
#include <model_task.hpp>
#include <options.hpp>
#include <terminal.hpp>
#include <text_picture.hpp>
#include <text_view.hpp>
#include <threads.hpp>

namespace byte_demo {

namespace evaluation = merganser::evaluation;

namespace {

constexpr Index default_window = 64;  // bytes

std::string read_input(const ShowOptions& options) {
  if (options.text) return *options.text;
  if (!options.input_file.empty()) return merganser::data::read_text(options.input_file);
  if (is_terminal(STDIN_FILENO))
    throw std::invalid_argument("no text: give TEXT, --input-file FILE, or a text on standard input");
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (text.empty()) throw merganser::IoError("standard input", "text", "0 bytes", "at least 1 byte");
  return text;
}

/// A text as the model gets it.
struct Tokens {
  std::vector<merganser::TokenId> ids;  ///< without an end
  merganser::data::SpecialTokens special;
};

std::string summary(const evaluation::DeletionReport& report) {
  return "deleted " + std::to_string(report.deleted()) + " of " + std::to_string(report.kept.size()) + " bytes; " +
         percent(report.deletion_rate()) + " of all tokens";
}

/// A line of output for each line of the text, or several if it is wider than the terminal.
void print_text(const Tokens& text, const evaluation::DeletionReport& report, const ShowOptions& options) {
  const evaluation::ViewStyle style = view_style(options.color);
  const std::size_t columns = view_columns(STDOUT_FILENO);
  const std::span<const merganser::TokenId> all(text.ids);
  const std::span<const std::uint8_t> kept(report.kept);
  std::size_t begin = 0;
  do {
    const auto rest = all.subspan(begin);
    const auto newline = std::find(rest.begin(), rest.end(), merganser::data::ByteTokenizer::byte_to_id('\n'));
    const auto length = static_cast<std::size_t>(newline - rest.begin()) + (newline == rest.end() ? 0 : 1);
    const auto ids = all.subspan(begin, length);
    const auto flags = kept.subspan(begin, length);
    const auto units = options.bytes == ByteView::hexadecimal ? evaluation::visible_units(ids, flags, text.special)
                                                              : evaluation::character_units(ids, flags, text.special);
    print_view(std::cout, "", units, columns, style);
    begin += length;
  } while (begin < all.size());
  std::cout << summary(report) << "\n" << legend(style) << "\n";
}

std::string hexadecimal(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    text += {digits[value >> 4], digits[value & 15]};
  }
  return text;
}

nlohmann::ordered_json gate_json(const evaluation::GateView& gate) {
  nlohmann::ordered_json json = {{"block", gate.block}, {"threshold", gate.threshold}};
  auto& values = json["values"] = nlohmann::ordered_json::array();
  for (const auto& value : gate.values) values.push_back(value ? nlohmann::ordered_json(*value) : nullptr);
  return json;
}

void print_json(const std::string& text, const Tokens& tokens, const evaluation::DeletionReport& report) {
  nlohmann::ordered_json json;
  json["text"] = text;
  json["bytes_hex"] = hexadecimal(text);
  json["bytes"] = tokens.ids.size();  // a mask or sentinel is one
  json["ids"] = tokens.ids;
  json["tokens"] = report.tokens;
  json["deletion_rate"] = report.deletion_rate();
  json["deleted_bytes"] = report.deleted();
  json["kept"] = report.kept;
  auto& indices = json["kept_indices"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < report.kept.size(); ++i)
    if (report.kept[i] != 0) indices.push_back(i);
  auto& gates = json["gates"] = nlohmann::ordered_json::array();
  for (const evaluation::GateView& gate : report.gates) gates.push_back(gate_json(gate));
  std::cout << json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
}

}  // namespace

void show(const ShowOptions& options) {
  const Threads threads(options.threads);
  const std::string text = read_input(options);
  const Model model = load_model(options.model);
  const Index window =
      options.window.value_or(std::min(default_window, model.config().encoder.most_tokens() - 1));  // and its end
  check_length(model, window + 1, "--window");
  const merganser::data::SpecialTokens special = options.reading == TextReading::verbatim
                                                     ? merganser::data::SpecialTokens()
                                                     : task_of(options.model, model).special;
  const Tokens tokens{special.encode(text, merganser::data::AddEos::no), special};
  const auto report = evaluation::report_deletion(model, tokens.ids, window,
                                                  deletion_options(options.rate, options.model, model), options.seed);
  if (!options.picture.empty()) {
    const auto units = evaluation::character_units(tokens.ids, report.kept, tokens.special);
    merganser::io::write_file_atomically(options.picture,
                                         std::string_view(picture_of(units, "dimmed: " + summary(report))));
  }
  if (options.format == OutputFormat::json)
    print_json(text, tokens, report);
  else
    print_text(tokens, report, options);
}

}  // namespace byte_demo
