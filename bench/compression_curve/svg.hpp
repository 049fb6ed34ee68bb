// Charts as SVG: plain markup that any browser shows, light or dark as the reader's system is, without scripts or fonts
// of its own.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace compression_curve {

/// A place in the units of the axes. Points that are not finite are left out.
struct ChartPoint {
  double x = 0.0, y = 0.0;
  double error = 0.0;  ///< half the height of its error bar; 0: none
};

/// Colour and marker of a series, the same in every chart: 0 to 7, from there on again. Lines of one look are told
/// apart by their dashes.
using Look = std::size_t;

struct ChartSeries {
  enum class Style { points, line };  ///< marked points with a line through them, or the line alone

  std::string name;
  std::vector<ChartPoint> points;
  Style style = Style::points;
  Look look = 0;
};

/// A dashed line across the chart.
struct ChartLevel {
  std::string name;
  double y = 0.0;
};

struct LineChart {
  std::string title, x_label, y_label;
  std::vector<ChartSeries> series;
  std::vector<ChartLevel> levels;
  std::optional<double> x_from, y_from;  ///< where an axis begins, unless a point lies below
};

/// Groups of bars side by side.
struct BarChart {
  struct Bar {
    double height = 0.0, error = 0.0;
  };
  struct Series {
    std::string name;
    std::vector<Bar> bars;  ///< one a group
    Look look = 0;
  };

  std::string title, y_label;
  std::vector<std::string> groups;
  std::vector<Series> series;
};

/// Text as it may stand in markup and in attributes; what is not UTF-8 or not allowed in XML becomes U+FFFD.
std::string escape_xml(std::string_view text);

/// Round numbers, about `count` of them, that cover [least, most]; at least two.
std::vector<double> axis_ticks(double least, double most, int count);

/// One picture with the charts below each other.
std::string svg_of(const std::vector<LineChart>& charts);
std::string svg_of(const BarChart& chart);

}  // namespace compression_curve
