// Texts on a terminal.
#include <text_view.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include <unistd.h>

#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/character_columns.hpp>
#include <merganser/data/utf8_decoder.hpp>

#include <terminal.hpp>

namespace byte_demo {

namespace data = merganser::data;
namespace evaluation = merganser::evaluation;

std::size_t view_columns(int descriptor) { return std::max<std::size_t>(columns_of(descriptor), 20); }

std::size_t prose_columns(int descriptor) { return std::min(view_columns(descriptor), usual_columns); }

std::string showable_text(std::string_view bytes) {
  std::string text;
  data::for_each_character(
      bytes,
      [&](std::size_t begin, std::size_t end) {
        const std::string_view character = bytes.substr(begin, end - begin);
        const bool as_it_is = evaluation::is_showable(character) || character == "\n" || character == "\t";
        text += as_it_is ? std::string(character) : evaluation::escape_character(character);
      },
      [&](std::size_t i) { text += evaluation::escape_byte(bytes[i]); });
  return text;
}

std::string one_line(std::string_view message) {
  std::string line(message);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return showable_text(line);
}

bool reader_left() { return ::write(STDOUT_FILENO, "\n", 1) < 0 && errno == EPIPE; }

evaluation::ViewStyle view_style(ColorChoice color) {
  return wants_color(color) ? evaluation::ViewStyle::ansi : evaluation::ViewStyle::plain;
}

std::string legend(evaluation::ViewStyle style) {
  using evaluation::TokenFate;
  const std::vector<evaluation::DeletionSegment> example = {{"deleted", TokenFate::deleted},
                                                            {"  ", TokenFate::kept},
                                                            {"partly deleted", TokenFate::partly_deleted},
                                                            {"  kept", TokenFate::kept}};
  return evaluation::render(example, style);
}

void print_view(std::ostream& out, std::string_view heading, std::span<const evaluation::DeletionSegment> units,
                std::size_t columns, evaluation::ViewStyle style) {
  const Index indent = data::columns_of(heading);
  std::string before(heading);
  for (const auto& line : evaluation::wrapped(units, std::max<Index>(static_cast<Index>(columns) - indent, 1))) {
    out << before << evaluation::render(line, style) << "\n";
    before.assign(static_cast<std::size_t>(indent), ' ');
  }
  if (units.empty()) out << heading << "\n";
}

std::vector<evaluation::DeletionSegment> units_of(std::string_view bytes) {
  const std::vector<std::uint8_t> kept(bytes.size(), 1);
  return evaluation::character_units(data::ByteTokenizer().encode(bytes, data::AddEos::no), kept);
}

}  // namespace byte_demo
