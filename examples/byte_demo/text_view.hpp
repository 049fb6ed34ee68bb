// Marked texts on a terminal, and what the marks mean; a comparison of modes as a table.
#pragma once

#include <cstddef>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/evaluation/deletion_layout.hpp>
#include <merganser/runs/model_comparison.hpp>
#include <merganser/runs/terminal.hpp>

#include <options.hpp>

namespace byte_demo {

/// How deleted text is marked on standard output.
evaluation::ViewStyle view_style(runs::ColorChoice color);

/// One line that shows the marks and says what they mean.
std::string legend(evaluation::ViewStyle style);

/// A text in lines, the first behind `heading` and the others below it; an empty text is one line.
/// @param units as of `evaluation::wrapped`
/// @param columns of a line with its heading
void print_view(std::ostream& out, std::string_view heading, std::span<const evaluation::DeletionSegment> units,
                std::size_t columns, evaluation::ViewStyle style = evaluation::ViewStyle::plain);

/// Text of any bytes that nothing was deleted from, for `print_view`.
std::vector<evaluation::DeletionSegment> units_of(std::string_view bytes);

/// A sentence in lines that fit, at most 80 columns.
void print_prose(std::ostream& out, std::string_view text);

/// The table and the sentences under it, in the width of the terminal, at most 80 columns where there is none.
void print_table(std::ostream& out, const runs::ModelComparison& comparison);

}  // namespace byte_demo
