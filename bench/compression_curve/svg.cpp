// Charts as SVG.
#include "svg.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <utility>

#include <merganser/data/utf8_decoder.hpp>

namespace compression_curve {

namespace {

constexpr double width = 760, panel_height = 400;                // pixels
constexpr double left = 80, right = 190, top = 44, bottom = 60;  // of a panel; the legend stands on the right
constexpr double plot_width = width - left - right, plot_height = panel_height - top - bottom;
constexpr int x_ticks = 7, y_ticks = 6;

/// Okabe and Ito's colours, which people with any colour vision tell apart.
constexpr std::array<const char*, 8> colours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                "#e69f00", "#56b4e9", "#000000", "#777777"};

const char* colour_of(std::size_t series) { return colours[series % colours.size()]; }

std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

/// A tick's label: 0.25, 20, 1e+06.
std::string label_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value == 0 ? 0.0 : value);
  return text;
}

std::string attribute(const char* name, const std::string& value) {
  return std::string(" ") + name + "=\"" + value + "\"";
}
std::string attribute(const char* name, double value) { return attribute(name, text_of(value)); }

enum class Anchor { start, middle, end };

std::string text_at(double x, double y, const std::string& text, Anchor anchor, const std::string& more = "") {
  const char* names[] = {"start", "middle", "end"};
  return "<text" + attribute("x", x) + attribute("y", y) +
         attribute("text-anchor", names[static_cast<std::size_t>(anchor)]) + more + ">" + escape_xml(text) +
         "</text>\n";
}

std::string line_between(double x1, double y1, double x2, double y2, const std::string& more) {
  return "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) + attribute("y2", y2) + more +
         "/>\n";
}

std::string stroke(const std::string& colour, double thickness, const std::string& dashes = "") {
  return attribute("stroke", colour) + attribute("stroke-width", thickness) +
         (dashes.empty() ? "" : attribute("stroke-dasharray", dashes));
}

/// Another shape for each series, for those who print without colour.
std::string marker(double x, double y, std::size_t series) {
  constexpr double r = 4.5;
  const std::string fill = attribute("fill", colour_of(series));
  const auto polygon = [&](std::initializer_list<std::pair<double, double>> corners) {
    std::string points;
    for (const auto& [dx, dy] : corners) points += text_of(x + r * dx) + "," + text_of(y + r * dy) + " ";
    points.pop_back();
    return "<polygon" + attribute("points", points) + fill + "/>\n";
  };
  switch (series % 5) {
    case 0:
      return "<circle" + attribute("cx", x) + attribute("cy", y) + attribute("r", r) + fill + "/>\n";
    case 1:
      return polygon({{-1, -1}, {1, -1}, {1, 1}, {-1, 1}});
    case 2:
      return polygon({{0, -1.2}, {1.1, 0.9}, {-1.1, 0.9}});
    case 3:
      return polygon({{0, -1.3}, {1.3, 0}, {0, 1.3}, {-1.3, 0}});
    default:
      return polygon({{0, 1.2}, {1.1, -0.9}, {-1.1, -0.9}});
  }
}

/// From the units of an axis to pixels.
struct Scale {
  double from = 0, to = 1, first_pixel = 0, last_pixel = 1;

  double operator()(double value) const {
    return first_pixel + (value - from) / (to - from) * (last_pixel - first_pixel);
  }
};

/// The smallest interval that holds all values it was shown.
struct Extent {
  double least = std::numeric_limits<double>::infinity(), most = -std::numeric_limits<double>::infinity();

  void add(double value) {
    if (!std::isfinite(value)) return;
    least = std::min(least, value);
    most = std::max(most, value);
  }

  std::pair<double, double> bounds() const {
    if (least > most) return {0, 1};
    if (least == most)
      return {least == 0 ? 0 : least - std::abs(least) / 10, most == 0 ? 1 : most + std::abs(most) / 10};
    return {least, most};
  }
};

bool is_drawn(const ChartPoint& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

std::string open_svg(double height, const std::string& title) {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\"" + attribute("width", width) + attribute("height", height) +
         attribute("viewBox", "0 0 " + text_of(width) + " " + text_of(height)) +
         " role=\"img\" font-family=\"sans-serif\" font-size=\"13\">\n<title>" + escape_xml(title) +
         "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
}

/// Grid, ticks and labels of a panel whose top is at `y`.
std::string frame(double y, const std::string& title, const std::string& x_label, const std::string& y_label,
                  const std::vector<double>& x_values, const Scale& x_scale, const std::vector<double>& y_values,
                  const Scale& y_scale) {
  const double floor = y + top + plot_height, end = left + plot_width;
  std::string svg = text_at(left, y + 24, title, Anchor::start, " font-size=\"16\" font-weight=\"bold\"");
  for (const double value : y_values) {
    const double at = y_scale(value);
    svg += line_between(left, at, end, at, stroke("#dddddd", 1));
    svg += text_at(left - 8, at + 4, label_of(value), Anchor::end);
  }
  for (const double value : x_values) {
    const double at = x_scale(value);
    svg += line_between(at, floor, at, floor + 5, stroke("#000000", 1));
    svg += text_at(at, floor + 20, label_of(value), Anchor::middle);
  }
  svg += line_between(left, floor, end, floor, stroke("#000000", 1));
  svg += line_between(left, y + top, left, floor, stroke("#000000", 1));
  svg += text_at(left + plot_width / 2, floor + 42, x_label, Anchor::middle);
  const double middle = y + top + plot_height / 2;
  svg += text_at(20, middle, y_label, Anchor::middle, attribute("transform", "rotate(-90 20 " + text_of(middle) + ")"));
  return svg;
}

std::string error_bars(const ChartPoint& point, const Scale& x_scale, const Scale& y_scale, std::size_t series) {
  const std::string style = stroke(colour_of(series), 1.2);
  const double x = x_scale(point.x), y = y_scale(point.y);
  std::string svg;
  if (point.error_y > 0 && std::isfinite(point.error_y)) {
    const double low = y_scale(point.y - point.error_y), high = y_scale(point.y + point.error_y);
    svg += line_between(x, low, x, high, style) + line_between(x - 4, low, x + 4, low, style) +
           line_between(x - 4, high, x + 4, high, style);
  }
  if (point.error_x > 0 && std::isfinite(point.error_x)) {
    const double low = x_scale(point.x - point.error_x), high = x_scale(point.x + point.error_x);
    svg += line_between(low, y, high, y, style) + line_between(low, y - 4, low, y + 4, style) +
           line_between(high, y - 4, high, y + 4, style);
  }
  return svg;
}

std::string draw_series(const ChartSeries& series, std::size_t number, const Scale& x_scale, const Scale& y_scale) {
  std::string path, marks;
  std::size_t drawn = 0;
  for (const ChartPoint& point : series.points) {
    if (!is_drawn(point)) continue;
    ++drawn;
    path += (path.empty() ? "M" : " L") + text_of(x_scale(point.x)) + " " + text_of(y_scale(point.y));
    if (series.style == ChartSeries::Style::points)
      marks += error_bars(point, x_scale, y_scale, number) + marker(x_scale(point.x), y_scale(point.y), number);
  }
  if (drawn < 2) return marks;
  return "<path" + attribute("d", path) + " fill=\"none\"" + stroke(colour_of(number), 1.6) + "/>\n" + marks;
}

std::string draw(const LineChart& chart, double y) {
  Extent x_extent, y_extent;
  if (chart.x_from) x_extent.add(*chart.x_from);
  if (chart.y_from) y_extent.add(*chart.y_from);
  for (const ChartSeries& series : chart.series)
    for (const ChartPoint& point : series.points) {
      if (!is_drawn(point)) continue;
      for (const double sign : {-1.0, 1.0}) {
        x_extent.add(point.x + sign * point.error_x);
        y_extent.add(point.y + sign * point.error_y);
      }
    }
  for (const ChartLevel& level : chart.levels) y_extent.add(level.y);
  const auto [x_least, x_most] = x_extent.bounds();
  const auto [y_least, y_most] = y_extent.bounds();
  const std::vector<double> x_values = axis_ticks(x_least, x_most, x_ticks),
                            y_values = axis_ticks(y_least, y_most, y_ticks);
  const Scale x_scale{x_values.front(), x_values.back(), left, left + plot_width};
  const Scale y_scale{y_values.front(), y_values.back(), y + top + plot_height, y + top};

  std::string svg = frame(y, chart.title, chart.x_label, chart.y_label, x_values, x_scale, y_values, y_scale);
  const double legend = left + plot_width + 16;
  double line = y + top + 12;
  for (const ChartLevel& level : chart.levels) {
    if (!std::isfinite(level.y)) continue;
    const double at = y_scale(level.y);
    svg += line_between(left, at, left + plot_width, at, stroke("#555555", 1.2, "6 4"));
    svg += line_between(legend, line - 4, legend + 22, line - 4, stroke("#555555", 1.2, "6 4"));
    svg += text_at(legend + 30, line, level.name, Anchor::start);
    line += 20;
  }
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    svg += draw_series(chart.series[i], i, x_scale, y_scale);
    svg += line_between(legend, line - 4, legend + 22, line - 4, stroke(colour_of(i), 1.6));
    if (chart.series[i].style == ChartSeries::Style::points) svg += marker(legend + 11, line - 4, i);
    svg += text_at(legend + 30, line, chart.series[i].name, Anchor::start);
    line += 20;
  }
  return svg;
}

}  // namespace

std::string escape_xml(std::string_view text) {
  std::string result;
  for (const char c : merganser::data::to_utf8(text, merganser::data::InvalidUtf8::replace)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&quot;";
    else if (byte < 0x20 && c != '\t' && c != '\n' && c != '\r')
      result += "\xEF\xBF\xBD";
    else
      result += c;
  }
  return result;
}

std::vector<double> axis_ticks(double least, double most, int count) {
  if (!std::isfinite(least) || !std::isfinite(most) || !(least < most)) return {0, 1};
  const double rough = (most - least) / std::max(count - 1, 1);
  const double unit = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * unit;
  for (const double factor : {5.0, 2.0, 1.0})
    if (factor * unit >= rough * (1 - 1e-9)) step = factor * unit;
  if (!(step > 0) || !std::isfinite(step)) return {least, most};
  constexpr double slack = 1e-9;  // of a step: 0.3 / 0.1 is not quite 3
  const double first = std::floor(least / step + slack), last = std::max(std::ceil(most / step - slack), first + 1);
  constexpr double most_ticks = 100;  // neighbours that double cannot tell apart
  if (last - first > most_ticks) return {least, most};
  std::vector<double> ticks;
  for (int i = 0; i <= static_cast<int>(last - first); ++i) ticks.push_back((first + i) * step);
  return ticks.front() < ticks.back() ? ticks : std::vector<double>{least, most};
}

std::string svg_of(const std::vector<LineChart>& charts) {
  const double height = panel_height * std::max<double>(1, static_cast<double>(charts.size()));
  std::string svg = open_svg(height, charts.empty() ? "" : charts.front().title);
  for (std::size_t i = 0; i < charts.size(); ++i) svg += draw(charts[i], panel_height * static_cast<double>(i));
  return svg + "</svg>\n";
}

std::string svg_of(const BarChart& chart) {
  Extent extent;
  extent.add(0);
  for (const BarChart::Series& series : chart.series)
    for (const BarChart::Bar& bar : series.bars) extent.add(bar.height + bar.error);
  const auto [least, most] = extent.bounds();
  const std::vector<double> values = axis_ticks(least, most, y_ticks);
  const Scale scale{values.front(), values.back(), top + plot_height, top};
  std::string svg =
      open_svg(panel_height, chart.title) + frame(0, chart.title, "", chart.y_label, {}, {}, values, scale);
  const double group_width = plot_width / static_cast<double>(std::max<std::size_t>(chart.groups.size(), 1));
  const double bar_width = 0.8 * group_width / static_cast<double>(std::max<std::size_t>(chart.series.size(), 1));
  for (std::size_t g = 0; g < chart.groups.size(); ++g) {
    const double begin = left + group_width * (static_cast<double>(g) + 0.1);
    svg += text_at(left + group_width * (static_cast<double>(g) + 0.5), top + plot_height + 20, chart.groups[g],
                   Anchor::middle);
    for (std::size_t s = 0; s < chart.series.size(); ++s) {
      if (g >= chart.series[s].bars.size()) continue;
      const BarChart::Bar bar = chart.series[s].bars[g];
      if (!std::isfinite(bar.height)) continue;
      const double x = begin + bar_width * static_cast<double>(s), high = scale(std::max(bar.height, 0.0));
      svg += "<rect" + attribute("x", x) + attribute("y", high) + attribute("width", bar_width * 0.94) +
             attribute("height", scale(std::min(bar.height, 0.0)) - high) + attribute("fill", colour_of(s)) + "/>\n";
      if (!(bar.error > 0) || !std::isfinite(bar.error)) continue;
      const double middle = x + bar_width * 0.47;
      svg += line_between(middle, scale(bar.height - bar.error), middle, scale(bar.height + bar.error),
                          stroke("#000000", 1.2));
    }
  }
  double line = top + 12;
  for (std::size_t s = 0; s < chart.series.size(); ++s, line += 20) {
    svg += "<rect" + attribute("x", left + plot_width + 16) + attribute("y", line - 10) + attribute("width", 12.0) +
           attribute("height", 12.0) + attribute("fill", colour_of(s)) + "/>\n";
    svg += text_at(left + plot_width + 36, line, chart.series[s].name, Anchor::start);
  }
  return svg + "</svg>\n";
}

}  // namespace compression_curve
