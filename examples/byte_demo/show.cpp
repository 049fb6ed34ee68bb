// byte_demo show: a text with its deleted bytes marked.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iostream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <unistd.h>

#include <merganser/core/io_error.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/special_tokens.hpp>
#include <merganser/data/text_corpus.hpp>
#include <merganser/evaluation/deletion_layout.hpp>
#include <merganser/evaluation/deletion_report.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/json_lines.hpp>
#include <merganser/runs/program_threads.hpp>

#include <model.hpp>
#include <options.hpp>
#include <text_picture.hpp>
#include <text_view.hpp>

namespace byte_demo {

namespace {

constexpr Index default_window = 64;  // bytes

std::string read_input(const ShowOptions& options) {
  if (options.text) return *options.text;
  if (!options.input_file.empty()) return data::read_text(options.input_file);
  if (runs::is_terminal(STDIN_FILENO))
    throw std::invalid_argument("no text: give TEXT, --input-file FILE, or a text on standard input");
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (text.empty()) throw merganser::IoError("standard input", "text", "0 bytes", "at least 1 byte");
  return text;
}

/// A text as the model gets it.
struct Tokens {
  std::vector<merganser::TokenId> ids;  ///< without an end
  data::SpecialTokens special;
};

std::string summary(const evaluation::DeletionReport& report) {
  return "deleted " + std::to_string(report.deleted()) + " of " + std::to_string(report.kept.size()) + " bytes; " +
         merganser::percent_text(report.deletion_rate()) + " of all tokens";
}

/// A line of output for each line of the text, or several if it is wider than the terminal.
void print_text(const Tokens& text, const evaluation::DeletionReport& report, const ShowOptions& options) {
  const evaluation::ViewStyle style = view_style(options.color);
  const std::size_t columns = runs::view_columns(STDOUT_FILENO);
  const std::span<const merganser::TokenId> all(text.ids);
  const std::span<const std::uint8_t> kept(report.kept);
  std::size_t begin = 0;
  do {
    const auto rest = all.subspan(begin);
    const auto newline = std::find(rest.begin(), rest.end(), data::ByteTokenizer::byte_to_id('\n'));
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

void print_json(const std::string& text, const Tokens& tokens, const evaluation::DeletionReport& report) {
  std::vector<std::size_t> kept_indices;
  for (std::size_t i = 0; i < report.kept.size(); ++i)
    if (report.kept[i] != 0) kept_indices.push_back(i);
  std::vector<io::JsonObject> gates;
  for (const evaluation::GateView& gate : report.gates)
    gates.push_back(
        io::JsonObject().set("block", gate.block).set("threshold", gate.threshold).set("values", gate.values));
  io::JsonObject json;
  json.set("text", text).set("bytes_hex", hexadecimal(text));
  json.set("bytes", tokens.ids.size()).set("ids", tokens.ids);  // a mask or sentinel is one
  json.set("tokens", report.tokens).set("deletion_rate", report.deletion_rate());
  json.set("deleted_bytes", report.deleted()).set("kept", report.kept).set("kept_indices", kept_indices);
  std::cout << json.set("gates", gates).line() << "\n";
}

/// A picture is drawn over nothing but a picture.
/// @throws std::invalid_argument if there is another file, or one that is read
void check_picture(const ShowOptions& options) {
  const std::filesystem::path path = options.picture;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return;
  if (!options.input_file.empty() && std::filesystem::equivalent(path, options.input_file, ignored))
    throw std::invalid_argument("--svg " + options.picture + ": got the file to read, expected another one");
  std::string begin(5, ' ');
  std::ifstream file(path, std::ios::binary);
  file.read(begin.data(), std::ssize(begin));
  if (file.gcount() > 0 && begin != "<svg ")
    throw std::invalid_argument("--svg " + options.picture +
                                ": got a file that is no picture, expected a new file or an svg");
}

}  // namespace

void show(const ShowOptions& options) {
  if (!options.picture.empty()) check_picture(options);
  const runs::ProgramThreads threads(options.program.threads, std::cerr);
  const std::string text = read_input(options), &directory = options.model.directory;
  const Model model = load_model(options.model, options.rate);
  const Index most = model.config().encoder.most_tokens() - 1;  // and its end
  const Index window = options.window.value_or(std::min(default_window, most));
  runs::check_length(model, window + 1, "--window");
  const data::SpecialTokens special =
      options.reading == runs::TextReading::verbatim ? data::SpecialTokens() : runs::task_of(directory, model).special;
  const Tokens tokens{special.encode(text, data::AddEos::no), special};
  const auto report = evaluation::report_deletion(model, tokens.ids, window,
                                                  runs::deletion_options(options.rate, directory, model, print_warning),
                                                  options.program.seed);
  warn_of_missed_target(options.rate, report.deletion_rate());
  if (!options.picture.empty()) {
    const auto units = evaluation::character_units(tokens.ids, report.kept, tokens.special);
    io::write_file_atomically(options.picture, std::string_view(picture_of(units, "dimmed: " + summary(report))));
  }
  if (options.format == OutputFormat::json)
    print_json(text, tokens, report);
  else
    print_text(tokens, report, options);
}

}  // namespace byte_demo
