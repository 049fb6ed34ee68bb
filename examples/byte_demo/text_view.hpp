// Texts on a terminal: prose and marked texts in lines that fit, and what the marks mean.
#pragma once

#include <cstddef>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/evaluation/deletion_layout.hpp>

#include <options.hpp>

namespace byte_demo {

/// For marked texts: as `columns_of`, but at least 20.
std::size_t view_columns(int descriptor);

/// The same, but at most 80: longer lines are hard to read.
std::size_t prose_columns(int descriptor);

/// The text with \xNN and the like for what is no character or acts on a terminal, other than ends of lines and tabs.
std::string showable_text(std::string_view bytes);

/// The same in one line, for errors.
std::string one_line(std::string_view message);

/// Whether it is a pipe without a reader that standard output failed for: no fault of a reader that has seen enough.
bool reader_left();

/// How deleted text is marked on standard output.
merganser::evaluation::ViewStyle view_style(ColorChoice color);

/// One line that shows the marks and says what they mean.
std::string legend(merganser::evaluation::ViewStyle style);

/// A text in lines, the first behind `heading` and the others below it; an empty text is one line.
/// @param units as of `wrapped`
/// @param columns of a line with its heading
void print_view(std::ostream& out, std::string_view heading,
                std::span<const merganser::evaluation::DeletionSegment> units, std::size_t columns,
                merganser::evaluation::ViewStyle style = merganser::evaluation::ViewStyle::plain);

/// Text of any bytes that nothing was deleted from, for `print_view`.
std::vector<merganser::evaluation::DeletionSegment> units_of(std::string_view bytes);

}  // namespace byte_demo
