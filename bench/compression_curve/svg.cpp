// Charts as SVG.
#include "svg.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include <merganser/data/character_columns.hpp>
#include <merganser/data/utf8_decoder.hpp>

namespace compression_curve {

namespace {

// Pixels. Title and legend stand above the plot, so that the picture is still read on a narrow screen.
constexpr double width = 640, left = 76, right = 16, plot_width = width - left - right, plot_height = 290;
constexpr double legend_top = 44, legend_line = 22, below = 60;
constexpr int x_ticks = 7, y_ticks = 6;

/// A look's colour on a light and on a dark ground: of Okabe and Ito, which people with any colour vision tell apart.
constexpr std::array<std::pair<const char*, const char*>, 8> colours = {{{"#0072b2", "#4db2f0"},
                                                                         {"#cc79a7", "#e8a3c8"},
                                                                         {"#b07a00", "#f0c040"},
                                                                         {"#009e73", "#2fd0a0"},
                                                                         {"#d55e00", "#ff8a3d"},
                                                                         {"#56b4e9", "#9ad4f7"},
                                                                         {"#000000", "#ffffff"},
                                                                         {"#777777", "#999999"}}};

std::string style_sheet() {
  std::string light, dark;
  for (std::size_t i = 0; i < colours.size(); ++i) {
    const std::string look = ".c" + std::to_string(i);
    const auto rule = [&](const std::string& colour) { return look + "{fill:" + colour + ";stroke:" + colour + "}"; };
    light += rule(colours[i].first);
    dark += rule(colours[i].second);
  }
  return "<style>text{fill:#1f2328}.ground{fill:#fff}.grid{stroke:#ddd}.axis{stroke:#1f2328}"
         ".level{stroke:#57606a;stroke-dasharray:6 4}" +
         light +
         "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}.grid{stroke:#30363d}"
         ".axis{stroke:#e6edf3}.level{stroke:#9198a1}" +
         dark +
         "}.line{fill:none;stroke-width:1.8}.dashes1{stroke-dasharray:7 3}.dashes2{stroke-dasharray:2 2}"
         ".dashes3{stroke-dasharray:9 3 2 3}</style>\n";
}

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

std::string colour_class(Look look) { return "c" + std::to_string(look % colours.size()); }

std::string text_at(double x, double y, const std::string& text, const char* anchor, const std::string& more = "") {
  return "<text" + attribute("x", x) + attribute("y", y) + attribute("text-anchor", anchor) + more + ">" +
         escape_xml(text) + "</text>\n";
}

std::string line_between(double x1, double y1, double x2, double y2, const std::string& classes) {
  return "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) + attribute("y2", y2) +
         attribute("class", classes) + "/>\n";
}

std::string box(double x, double y, double box_width, double height, const std::string& classes) {
  return "<rect" + attribute("x", x) + attribute("y", y) + attribute("width", box_width) + attribute("height", height) +
         attribute("class", classes) + "/>\n";
}

/// Another shape for each look, for those who print without colour: circle, square, triangles and diamond.
constexpr std::array<const char*, 5> shapes = {"M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z", "M-5 -5h10v10h-10z",
                                               "M0 -6L6 5H-6z", "M0 -7L7 0L0 7L-7 0z", "M0 6L6 -5H-6z"};

std::string marker(double x, double y, Look look) {
  return "<path" + attribute("d", shapes[look % shapes.size()]) +
         attribute("transform", "translate(" + text_of(x) + " " + text_of(y) + ")") +
         attribute("class", colour_class(look)) + "/>\n";
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

  /// Wide enough that what differs by little does not look far apart.
  std::pair<double, double> bounds() const {
    if (least > most || (least == 0 && most == 0)) return {0, 1};
    const double widening = std::max(0.0, 0.2 * std::max(std::abs(least), std::abs(most)) - (most - least)) / 2;
    return {least - widening, most + widening};
  }
};

bool is_drawn(const ChartPoint& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

/// Entries beside each other, in as many lines as they take. Draws nothing before it knows how many.
class Legend {
 public:
  /// @param mark draws what stands before the name, in the 22 pixels right of x around y
  template <class Mark>
  void add(const std::string& name, Mark mark, double y) {
    constexpr double mark_width = 30, letter = 7.6, gap = 18;
    const double entry = mark_width + letter * static_cast<double>(merganser::data::columns_of(name)) + gap;
    if (x_ > left && x_ + entry > width) x_ = left, ++lines_;
    const double at = y + legend_top + legend_line * (static_cast<double>(lines_) - 0.3);
    svg_ += mark(x_, at - 5) + text_at(x_ + mark_width, at, name, "start");
    x_ += entry;
  }

  double height() const { return x_ > left || lines_ > 1 ? legend_line * static_cast<double>(lines_) : 0.0; }
  const std::string& svg() const { return svg_; }

 private:
  std::string svg_;
  double x_ = left;
  std::size_t lines_ = 1;
};

std::string whole_picture(double height, const std::string& title, const std::string& body) {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\"" + attribute("width", width) + attribute("height", height) +
         attribute("viewBox", "0 0 " + text_of(width) + " " + text_of(height)) +
         " role=\"img\" font-family=\"sans-serif\" font-size=\"14\">\n<title>" + escape_xml(title) + "</title>\n" +
         style_sheet() + "<rect width=\"100%\" height=\"100%\" class=\"ground\"/>\n" + body + "</svg>\n";
}

/// Title, y axis and grid of a panel at `y` whose plot begins at `top`.
std::string frame(double y, double top, const std::string& title, const std::string& y_label,
                  const std::vector<double>& values, const Scale& scale) {
  const double floor = top + plot_height, middle = top + plot_height / 2;
  std::string svg = text_at(left, y + 28, title, "start", " font-size=\"16\" font-weight=\"bold\"");
  for (const double value : values)
    svg += line_between(left, scale(value), left + plot_width, scale(value), "grid") +
           text_at(left - 8, scale(value) + 5, label_of(value), "end");
  return svg + line_between(left, floor, left + plot_width, floor, "axis") +
         line_between(left, top, left, floor, "axis") +
         text_at(18, middle, y_label, "middle", attribute("transform", "rotate(-90 18 " + text_of(middle) + ")"));
}

std::string x_axis(double floor, const std::string& label, const std::vector<double>& values, const Scale& scale) {
  std::string svg = text_at(left + plot_width / 2, floor + 44, label, "middle");
  for (const double value : values)
    svg += line_between(scale(value), floor, scale(value), floor + 5, "axis") +
           text_at(scale(value), floor + 21, label_of(value), "middle");
  return svg;
}

std::string error_bar(double x, double low, double high, Look look) {
  const std::string colour = colour_class(look);
  return line_between(x, low, x, high, colour) + line_between(x - 4, low, x + 4, low, colour) +
         line_between(x - 4, high, x + 4, high, colour);
}

/// The classes of a series' line: its colour, and dashes if there are others of its look before it.
std::string line_classes(const std::vector<ChartSeries>& all, std::size_t number) {
  std::size_t before = 0;
  for (std::size_t i = 0; i < number; ++i) before += all[i].look == all[number].look ? 1U : 0U;
  return colour_class(all[number].look) + " line dashes" + std::to_string(before % 4);
}

std::string draw_series(const ChartSeries& series, const std::string& classes, const Scale& x_scale,
                        const Scale& y_scale) {
  std::string path, marks;
  std::size_t drawn = 0;
  for (const ChartPoint& point : series.points) {
    if (!is_drawn(point)) continue;
    ++drawn;
    path += (path.empty() ? "M" : " L") + text_of(x_scale(point.x)) + " " + text_of(y_scale(point.y));
    if (series.style == ChartSeries::Style::line) continue;
    marks += marker(x_scale(point.x), y_scale(point.y), series.look);
    if (point.error > 0 && std::isfinite(point.error))
      marks += error_bar(x_scale(point.x), y_scale(point.y - point.error), y_scale(point.y + point.error), series.look);
  }
  return (drawn < 2 ? "" : "<path" + attribute("d", path) + attribute("class", classes) + "/>\n") + marks;
}

std::pair<Extent, Extent> extents(const LineChart& chart) {
  Extent x, y;
  if (chart.x_from) x.add(*chart.x_from);
  if (chart.y_from) y.add(*chart.y_from);
  for (const ChartSeries& series : chart.series)
    for (const ChartPoint& point : series.points)
      for (const double sign : {-1.0, 1.0}) {
        if (!is_drawn(point)) continue;
        x.add(point.x);
        y.add(point.y + sign * point.error);
      }
  for (const ChartLevel& level : chart.levels) y.add(level.y);
  return {x, y};
}

Legend legend_of(const LineChart& chart, double y) {
  Legend legend;
  for (const ChartLevel& level : chart.levels)
    if (std::isfinite(level.y))
      legend.add(
          level.name, [](double x, double at) { return line_between(x, at, x + 22, at, "level"); }, y);
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const ChartSeries& series = chart.series[i];
    const auto mark = [&](double x, double at) {
      return line_between(x, at, x + 22, at, line_classes(chart.series, i)) +
             (series.style == ChartSeries::Style::points ? marker(x + 11, at, series.look) : "");
    };
    legend.add(series.name, mark, y);
  }
  return legend;
}

/// The panel at `y`, which it moves below it.
std::string draw(const LineChart& chart, double& y) {
  const auto [x_extent, y_extent] = extents(chart);
  const auto [x_least, x_most] = x_extent.bounds();
  const auto [y_least, y_most] = y_extent.bounds();
  const std::vector<double> x_values = axis_ticks(x_least, x_most, x_ticks),
                            y_values = axis_ticks(y_least, y_most, y_ticks);
  const Legend legend = legend_of(chart, y);
  const double top = y + legend_top + legend.height(), floor = top + plot_height;
  const Scale x_scale{x_values.front(), x_values.back(), left, left + plot_width};
  const Scale y_scale{y_values.front(), y_values.back(), floor, top};
  std::string svg = frame(y, top, chart.title, chart.y_label, y_values, y_scale) +
                    x_axis(floor, chart.x_label, x_values, x_scale) + legend.svg();
  for (const ChartLevel& level : chart.levels)
    if (std::isfinite(level.y))
      svg += line_between(left, y_scale(level.y), left + plot_width, y_scale(level.y), "level");
  for (std::size_t i = 0; i < chart.series.size(); ++i)
    svg += draw_series(chart.series[i], line_classes(chart.series, i), x_scale, y_scale);
  y = floor + below;
  return svg;
}

std::string draw_bars(const BarChart& chart, double floor, const Scale& scale) {
  const double group_width = plot_width / static_cast<double>(std::max<std::size_t>(chart.groups.size(), 1));
  const double bar_width = 0.8 * group_width / static_cast<double>(std::max<std::size_t>(chart.series.size(), 1));
  std::string svg;
  for (std::size_t g = 0; g < chart.groups.size(); ++g) {
    const double begin = left + group_width * static_cast<double>(g);
    svg += text_at(begin + group_width / 2, floor + 21, chart.groups[g], "middle");
    for (std::size_t s = 0; s < chart.series.size(); ++s) {
      if (g >= chart.series[s].bars.size() || !std::isfinite(chart.series[s].bars[g].height)) continue;
      const BarChart::Bar bar = chart.series[s].bars[g];
      const double x = begin + 0.1 * group_width + bar_width * static_cast<double>(s);
      const double high = scale(std::max(bar.height, 0.0)), middle = x + bar_width * 0.47;
      svg +=
          box(x, high, bar_width * 0.94, scale(std::min(bar.height, 0.0)) - high, colour_class(chart.series[s].look));
      if (bar.error > 0 && std::isfinite(bar.error))
        svg += line_between(middle, scale(bar.height - bar.error), middle, scale(bar.height + bar.error), "axis");
    }
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
  double height = 0;
  std::string body;
  for (const LineChart& chart : charts) body += draw(chart, height);
  return whole_picture(std::max(height, 1.0), charts.empty() ? "" : charts.front().title, body);
}

std::string svg_of(const BarChart& chart) {
  Extent extent;
  extent.add(0);
  Legend legend;
  for (const BarChart::Series& series : chart.series) {
    for (const BarChart::Bar& bar : series.bars) extent.add(bar.height + bar.error);
    legend.add(
        series.name, [&](double x, double y) { return box(x + 5, y - 7, 14, 14, colour_class(series.look)); }, 0);
  }
  const auto [least, most] = extent.bounds();
  const std::vector<double> values = axis_ticks(least, most, y_ticks);
  const double top = legend_top + legend.height(), floor = top + plot_height;
  const Scale scale{values.front(), values.back(), floor, top};
  return whole_picture(
      floor + below, chart.title,
      frame(0, top, chart.title, chart.y_label, values, scale) + legend.svg() + draw_bars(chart, floor, scale));
}

}  // namespace compression_curve
