// Rows of a curve for people: a table, and charts.
#pragma once

#include <filesystem>
#include <ostream>
#include <vector>

#include <merganser/runs/curve_row.hpp>
#include <merganser/runs/opened_data.hpp>

namespace compression_curve {

namespace runs = merganser::runs;
using runs::AnswerKind;
using runs::no_figure;
using runs::RunRow;

/// Mean and standard deviation over seeds; figures that a run does not have are left out.
struct Statistic {
  double mean = no_figure;
  double deviation = 0.0;  ///< of a sample; 0 of one
};

Statistic statistic_of(const std::vector<double>& values);

/// Rows with the same policy and target, in the order in which they come.
std::vector<std::vector<const RunRow*>> by_policy_and_target(const std::vector<RunRow>& rows);

/// One line a policy and target, at most 110 columns.
void print_table(std::ostream& out, const std::vector<RunRow>& rows, AnswerKind kind);

/// A table of the languages of one line of that table after the other; nothing without languages.
void print_languages(std::ostream& out, const std::vector<RunRow>& rows);

/// bits_by_rate.svg, bits_by_ms.svg, accuracy_by_rate.svg and accuracy_by_ms.svg (but for texts), controller.svg and
/// languages.svg, where there is something to show.
/// @param runs the folder with the folders of the runs, for the traces
void write_charts(const std::filesystem::path& directory, const std::vector<RunRow>& rows, AnswerKind kind,
                  const std::filesystem::path& runs);

}  // namespace compression_curve
