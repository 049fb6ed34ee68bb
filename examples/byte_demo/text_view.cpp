// Marked texts on a terminal.
#include <text_view.hpp>

#include <algorithm>
#include <cstdint>

#include <unistd.h>

#include <merganser/core/text_format.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/character_columns.hpp>
#include <merganser/runs/terminal_text.hpp>

namespace byte_demo {

using merganser::fixed_text;
using merganser::percent_text;

evaluation::ViewStyle view_style(runs::ColorChoice color) {
  return runs::wants_color(color) ? evaluation::ViewStyle::ansi : evaluation::ViewStyle::plain;
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

void print_prose(std::ostream& out, std::string_view text) {
  out << runs::wrapped(text, runs::prose_columns(STDOUT_FILENO));
}

void print_table(std::ostream& out, const runs::ModelComparison& comparison) {
  const evaluation::Comparison& measured = comparison.measured;
  runs::TextTable table;
  table.add_column("", 20, runs::TextTable::Align::left);
  for (const auto& [name, width] :
       {std::pair{"accuracy", 10}, {"exact", 10}, {"deleted", 10}, {"bits/byte", 11}, {"ms", 10}, {"speed-up", 9}})
    table.add_column(name, static_cast<std::size_t>(width));
  const auto add_row = [&](const std::string& name, const evaluation::EvaluationResult& result, bool timed) {
    const double speed_up = measured.none.milliseconds / std::max(result.milliseconds, 1e-9);
    table.add_row({name, percent_text(result.token_accuracy, 2), percent_text(result.sequence_accuracy),
                   percent_text(result.deletion_rate), fixed_text(result.bits_per_byte, 4),
                   timed ? fixed_text(result.milliseconds, 1) : "", timed ? fixed_text(speed_up, 2) + "x" : ""});
  };
  add_row("no deletion", measured.none, true);
  add_row("soft deletion", measured.soft, true);
  add_row("hard deletion", measured.hard, true);
  add_row("hard, as reference", measured.hard_reference, true);
  add_row("everything deleted", measured.everything, false);
  const std::size_t columns = runs::columns_of(STDOUT_FILENO);
  table.print(out, columns);
  out << "\n";
  const auto print = [&](const std::string& text) { out << runs::wrapped(text, columns); };
  print("Over " + std::to_string(measured.none.sequences) + " sequences, " +
        std::to_string(measured.none.source_bytes) + " source bytes and " +
        std::to_string(measured.none.target_tokens) + " target tokens.");
  print("accuracy: target tokens right, given those before. exact: sequences all right.");
  print("bits/byte: bits of the target for each source byte. ms: for all sequences.");
  print("as reference: survivors lose their gate value, as in the code of the MrT5 paper.");
  print("Soft and hard differ by " + fixed_text(100 * measured.soft_hard_gap(), 2) + " % in bits per byte.");
  print("Speed-up of hard deletion: " + fixed_text(measured.speed_up(), 2) + "x measured, " +
        fixed_text(comparison.predicted_speed_up, 2) + "x predicted by the cost model.");
}

}  // namespace byte_demo
