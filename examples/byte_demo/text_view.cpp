// Texts on a terminal.
#include <text_view.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/character_columns.hpp>
#include <merganser/data/utf8_decoder.hpp>

#include <terminal.hpp>

namespace byte_demo {

namespace data = merganser::data;
namespace evaluation = merganser::evaluation;

Index columns_of(int descriptor) {
  constexpr Index usual = 80, least = 20;
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return std::max<Index>(size.ws_col, least);
  const char* asked = std::getenv("COLUMNS");
  const std::string_view text = asked == nullptr ? "" : asked;
  Index columns = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), columns);
  const bool number = error == std::errc() && end == text.data() + text.size() && columns > 0;
  return number ? std::max(columns, least) : usual;
}

Index prose_columns(int descriptor) { return std::min<Index>(columns_of(descriptor), 80); }

std::string paragraph(std::string_view words, Index columns) {
  std::string text, line;
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    const std::string_view word = words.substr(0, end);
    words.remove_prefix(std::min(end + 1, words.size()));
    if (!line.empty() && data::columns_of(line) + 1 + data::columns_of(word) > columns) {
      text += line + "\n";
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  return text + line + "\n";
}

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
                Index columns, evaluation::ViewStyle style) {
  const Index indent = data::columns_of(heading);
  std::string before(heading);
  for (const auto& line : evaluation::wrapped(units, std::max<Index>(columns - indent, 1))) {
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
