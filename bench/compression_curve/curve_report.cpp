// Rows of a curve for people.
#include "curve_report.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

#include <merganser/core/text_format.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/runs/curve_plan.hpp>
#include <merganser/runs/curve_policies.hpp>
#include <merganser/runs/terminal.hpp>
#include <merganser/runs/terminal_text.hpp>
#include <merganser/runs/training_trace.hpp>

#include "svg.hpp"

namespace compression_curve {

namespace {

using merganser::fixed_text;
using merganser::Index;
using runs::all_deleted;
using runs::find_policy;
using runs::is_bound;
using runs::LanguageRow;
using runs::ModeFigures;
using runs::policies;
using runs::Policy;
using runs::TextTable;
using runs::ungated;
using Figure = std::function<double(const RunRow&)>;
using Rows = std::vector<const RunRow*>;

constexpr std::size_t plain_columns = 120;  // of lines that no terminal shows

Statistic over(const Rows& rows, const Figure& figure) {
  std::vector<double> values;
  for (const RunRow* row : rows) values.push_back(figure(*row));
  return statistic_of(values);
}

/// "learned 50 %"; twin and control have no target.
std::string name_of(const RunRow& row) {
  return is_bound(row.policy) ? row.policy : row.policy + " " + merganser::percent_text(row.target, 0);
}

std::string percent_text(const Statistic& value, int digits) {
  return std::isfinite(value.mean) ? fixed_text(100 * value.mean, digits) : "";
}

std::string number_text(const Statistic& value, int digits) {
  return std::isfinite(value.mean) ? fixed_text(value.mean, digits) : "";
}

/// Of sequences, or of classes: what a reader wants right.
double accuracy(const ModeFigures& figures) {
  return std::isfinite(figures.class_accuracy) ? figures.class_accuracy : figures.sequence_accuracy;
}

double milliseconds_a_kilobyte(const RunRow& row) {
  return row.source_bytes > 0 ? row.total_ms_hard / (static_cast<double>(row.source_bytes) / 1000) : no_figure;
}

const Figure deleted = [](const RunRow& row) { return row.hard.deletion_rate; };
const Figure hard_bits = [](const RunRow& row) { return row.hard.bits_per_byte; };
const Figure hard_accuracy = [](const RunRow& row) { return 100 * accuracy(row.hard); };

/// The same for a policy of `policies` in every chart, whichever others are in it; those by name come behind them, in
/// their order there.
Look look_of(const std::string& policy, std::size_t by_name = 0) {
  const auto place =
      std::find_if(policies().begin(), policies().end(), [&](const Policy& one) { return one.name == policy; });
  const auto known = static_cast<Look>(place - policies().begin());
  return place != policies().end() || is_bound(policy) ? known : known + 1 + by_name;
}

/// One series a policy, a point a target; the twin is a level. The control is left out: it may be tenfold off.
LineChart chart_of(const std::vector<RunRow>& rows, const Figure& x, const Figure& y) {
  LineChart chart;
  std::map<std::string, std::size_t> series;
  std::size_t named = 0;
  for (const Rows& group : by_policy_and_target(rows)) {
    const Statistic at = over(group, x), value = over(group, y);
    const std::string& policy = group.front()->policy;
    if (policy == all_deleted) continue;
    if (policy == ungated && std::isfinite(value.mean)) chart.levels.push_back({"no deletion", value.mean});
    const auto [place, added] = series.emplace(policy, chart.series.size());
    const std::string name = policy == ungated ? "twin" : policy;
    const bool by_name = !is_bound(policy) && find_policy(policy) == nullptr;
    if (added)
      chart.series.push_back(
          {name, {}, ChartSeries::Style::points, look_of(policy, by_name ? named++ : std::size_t{0})});
    chart.series[place->second].points.push_back({at.mean, value.mean, value.deviation});
  }
  for (ChartSeries& one : chart.series)
    std::sort(one.points.begin(), one.points.end(), [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
  return chart;
}

void write(const std::filesystem::path& path, const std::string& text) {
  merganser::io::write_file_atomically(path, std::string_view(text));
}

void write_quality(const std::filesystem::path& directory, const std::string& name, const std::string& label,
                   const std::vector<RunRow>& rows, const Figure& quality) {
  LineChart by_rate = chart_of(
      rows, [](const RunRow& row) { return 100 * row.hard.deletion_rate; }, quality);
  by_rate.title = label + " against deletion rate, " + rows.front().task;
  by_rate.x_label = "tokens deleted, per cent";
  by_rate.y_label = label;
  by_rate.x_from = 0;
  write(directory / (name + "_by_rate.svg"), svg_of({by_rate}));
  LineChart by_time = chart_of(rows, milliseconds_a_kilobyte, quality);
  by_time.title = label + " against time, " + rows.front().task;
  by_time.x_label = "milliseconds a kilobyte of source, hard deletion";
  by_time.y_label = label;
  by_time.x_from = 0;
  write(directory / (name + "_by_ms.svg"), svg_of({by_time}));
}

void write_controller(const std::filesystem::path& directory, const std::vector<RunRow>& rows,
                      const std::filesystem::path& runs) {
  constexpr Index bins = 150;
  LineChart rate, alpha;
  for (const RunRow& row : rows) {
    if (row.policy != "learned") continue;
    const runs::PlannedRun planned{row.policy, row.target, row.seed, std::nullopt, row.base, row.settings};
    ChartSeries rates{
        name_of(row) + " seed " + std::to_string(row.seed), {}, ChartSeries::Style::line, look_of(row.policy)};
    ChartSeries alphas = rates;
    for (const runs::TracePoint& point :
         runs::averaged(runs::read_trace(runs / planned.folder() / runs::trace_file_name), bins)) {
      rates.points.push_back({static_cast<double>(point.step), 100 * point.deletion_rate});
      alphas.points.push_back({static_cast<double>(point.step), point.alpha});
    }
    if (rates.points.empty()) continue;
    const double target = 100 * row.target;
    if (std::none_of(rate.levels.begin(), rate.levels.end(),
                     [&](const ChartLevel& level) { return level.y == target; }))
      rate.levels.push_back({"target " + fixed_text(target, 0) + " %", target});
    rate.series.push_back(std::move(rates));
    alpha.series.push_back(std::move(alphas));
  }
  if (rate.series.empty()) return;
  rate.title = "Controller: deletion rate in training";
  rate.x_label = alpha.x_label = "step";
  rate.y_label = "tokens deleted, per cent";
  alpha.title = "Controller: weight of the gate regulariser";
  alpha.y_label = "alpha";
  rate.x_from = rate.y_from = alpha.x_from = alpha.y_from = 0;
  write(directory / "controller.svg", svg_of({rate, alpha}));
}

void write_language_chart(const std::filesystem::path& directory, const std::vector<RunRow>& rows) {
  BarChart chart;
  for (const Rows& group : by_policy_and_target(rows)) {
    if (group.front()->policy == ungated || group.front()->languages.empty()) continue;
    if (chart.groups.empty())
      for (const LanguageRow& language : group.front()->languages) chart.groups.push_back(language.language);
    BarChart::Series series{name_of(*group.front()), {}, look_of(group.front()->policy)};
    for (std::size_t i = 0; i < chart.groups.size(); ++i) {
      const Statistic rate = over(group, [i](const RunRow& row) { return 100 * row.languages.at(i).deletion_rate; });
      series.bars.push_back({rate.mean, rate.deviation});
    }
    chart.series.push_back(std::move(series));
  }
  if (chart.series.empty()) return;
  chart.title = "Deletion rate per language, " + rows.front().task;
  chart.y_label = "tokens deleted, per cent";
  write(directory / "languages.svg", svg_of(chart));
}

}  // namespace

Statistic statistic_of(const std::vector<double>& values) {
  double sum = 0, squares = 0, count = 0;
  for (const double value : values)
    if (std::isfinite(value)) sum += value, ++count;
  if (count == 0) return {};
  const double mean = sum / count;
  for (const double value : values)
    if (std::isfinite(value)) squares += (value - mean) * (value - mean);
  return {mean, count > 1 ? std::sqrt(squares / (count - 1)) : 0.0};
}

std::vector<Rows> by_policy_and_target(const std::vector<RunRow>& rows) {
  std::vector<Rows> groups;
  for (const RunRow& row : rows) {
    const auto place = std::find_if(groups.begin(), groups.end(), [&](const Rows& group) {
      return group.front()->policy == row.policy && group.front()->target == row.target;
    });
    if (place == groups.end())
      groups.push_back({&row});
    else
      place->push_back(&row);
  }
  return groups;
}

void print_table(std::ostream& out, const std::vector<RunRow>& rows, AnswerKind kind) {
  const bool accurate = kind != AnswerKind::texts;
  TextTable table;
  table.add_column("", 16, TextTable::Align::left);
  table.add_column("seeds", 6);
  table.add_column("deleted", 9);
  table.add_column("bits: none", 12);
  table.add_column("soft", 9);
  table.add_column("hard", 9);
  table.add_column("+-", 8);
  table.add_column("all gone", 10);
  if (accurate) table.add_column("right", 8);
  if (accurate) table.add_column("+-", 6);
  table.add_column("ms/kB", 8);
  table.add_column("cost", 7);
  for (const Rows& group : by_policy_and_target(rows)) {
    const auto number = [&](const Figure& figure, int digits) { return number_text(over(group, figure), digits); };
    const auto deviation = [&](const Statistic& value, int digits) {
      return group.size() > 1 ? fixed_text(value.deviation, digits) : std::string();
    };
    const Statistic bits = over(group, hard_bits), right = over(group, hard_accuracy);
    std::vector<std::string> cells = {name_of(*group.front()),
                                      std::to_string(group.size()),
                                      percent_text(over(group, deleted), 1) + " %",
                                      number([](const RunRow& row) { return row.none.bits_per_byte; }, 4),
                                      number([](const RunRow& row) { return row.soft.bits_per_byte; }, 4),
                                      number_text(bits, 4),
                                      deviation(bits, 4),
                                      number([](const RunRow& row) { return row.everything.bits_per_byte; }, 3)};
    if (accurate) cells.push_back(number_text(right, 1) + " %");
    if (accurate) cells.push_back(deviation(right, 1));
    cells.push_back(number(milliseconds_a_kilobyte, 2));
    cells.push_back(number([](const RunRow& row) { return row.predicted_cost_ratio; }, 2));
    table.add_row(std::move(cells));
  }
  const std::size_t columns = runs::columns_of(STDOUT_FILENO, plain_columns);
  table.print(out, columns);
  const std::string right = kind == AnswerKind::classes ? " right: classes, hard." : " right: whole sequences, hard.";
  out << "\n"
      << runs::wrapped(
             "deleted: of the source tokens, hard deletion. bits: of the target for each source byte, without, with "
             "soft, with hard deletion and with nothing left. +-: standard deviation over seeds." +
                 (accurate ? right : std::string()) +
                 " ms/kB: hard deletion, for a kilobyte of source. cost: operations of hard deletion over those of "
                 "none, by the cost model. A pooling works in every mode, so that its three bits are the same.",
             columns);
}

void print_languages(std::ostream& out, const std::vector<RunRow>& rows) {
  for (const Rows& group : by_policy_and_target(rows)) {
    const RunRow& first = *group.front();
    if (first.languages.empty()) continue;
    TextTable table;
    table.add_column(name_of(first), 16, TextTable::Align::left);
    table.add_column("deleted", 9);
    table.add_column("bits", 9);
    table.add_column("after", 9);
    table.add_column("bytes/char", 12);
    table.add_column("kept/char", 11);
    table.add_column("premium", 9);
    table.add_column("after", 8);
    for (std::size_t i = 0; i < first.languages.size(); ++i) {
      const auto of = [&](double LanguageRow::*figure) {
        return over(group, [i, figure](const RunRow& row) { return row.languages.at(i).*figure; });
      };
      table.add_row(
          {"  " + first.languages[i].language, percent_text(of(&LanguageRow::deletion_rate), 1) + " %",
           number_text(of(&LanguageRow::bits_per_byte_before), 4),
           number_text(of(&LanguageRow::bits_per_byte_after), 4), number_text(of(&LanguageRow::bytes_per_character), 2),
           number_text(of(&LanguageRow::kept_tokens_per_character), 3),
           number_text(of(&LanguageRow::premium_before), 2), number_text(of(&LanguageRow::premium_after), 2)});
    }
    const auto spread = [&](double RunRow::*figure) {
      return number_text(over(group, [figure](const RunRow& row) { return row.*figure; }), 2);
    };
    table.add_row({"  most / least", "", "", "", spread(&RunRow::bytes_per_character_spread),
                   spread(&RunRow::kept_per_character_spread), spread(&RunRow::premium_spread),
                   spread(&RunRow::kept_premium_spread)});
    out << "\n";
    table.print(out, runs::columns_of(STDOUT_FILENO, plain_columns));
  }
}

void write_charts(const std::filesystem::path& directory, const std::vector<RunRow>& rows, AnswerKind kind,
                  const std::filesystem::path& runs) {
  if (rows.empty()) return;
  write_quality(directory, "bits", "Bits per byte", rows, hard_bits);
  if (kind != AnswerKind::texts)
    write_quality(directory, "accuracy",
                  kind == AnswerKind::classes ? "Classes right, per cent" : "Sequences right, per cent", rows,
                  hard_accuracy);
  write_controller(directory, rows, runs);
  write_language_chart(directory, rows);
}

}  // namespace compression_curve
