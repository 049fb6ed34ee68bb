// Charts are well-formed XML without scripts, whatever they are of.
#include "compression_curve/svg.hpp"

#include <cctype>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace curve_svg_test {

using namespace compression_curve;
using Catch::Matchers::WithinAbs;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Of one kind of element: how many there are. Fails where the markup is not well-formed.
class Markup {
 public:
  explicit Markup(std::string_view text) {
    while (!text.empty()) {
      const std::size_t open = text.find('<');
      check_text(text.substr(0, open));
      if (open == std::string_view::npos) break;
      const std::size_t close = text.find('>', open);
      REQUIRE(close != std::string_view::npos);
      take(text.substr(open + 1, close - open - 1));
      text.remove_prefix(close + 1);
    }
    CHECK(open_.empty());
  }

  int count(const std::string& name) const {
    int found = 0;
    for (const std::string& tag : tags_) found += tag == name ? 1 : 0;
    return found;
  }

 private:
  static void check_text(std::string_view text) {
    for (std::size_t at = text.find('&'); at != std::string_view::npos; at = text.find('&', at + 1)) {
      const std::string_view rest = text.substr(at);
      CHECK((rest.starts_with("&amp;") || rest.starts_with("&lt;") || rest.starts_with("&gt;") ||
             rest.starts_with("&quot;")));
    }
    CHECK(text.find("nan") == std::string_view::npos);
    CHECK(text.find("inf") == std::string_view::npos);
  }

  void take(std::string_view tag) {
    if (tag.starts_with('/')) {
      REQUIRE_FALSE(open_.empty());
      CHECK(open_.back() == tag.substr(1));
      open_.pop_back();
      return;
    }
    const bool empty = tag.ends_with('/');
    const std::string name(tag.substr(0, tag.find_first_of(" /")));
    REQUIRE_FALSE(name.empty());
    CHECK(name != "script");
    check_attributes(tag.substr(name.size(), tag.size() - name.size() - (empty ? 1 : 0)));
    tags_.push_back(name);
    if (!empty) open_.push_back(name);
  }

  static void check_attributes(std::string_view text) {
    while (!text.empty()) {
      REQUIRE(text.front() == ' ');
      const std::size_t equals = text.find("=\"");
      REQUIRE(equals != std::string_view::npos);
      for (const char c : text.substr(1, equals - 1))
        REQUIRE((std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-'));
      const std::size_t end = text.find('"', equals + 2);
      REQUIRE(end != std::string_view::npos);
      check_text(text.substr(equals + 2, end - equals - 2));
      text.remove_prefix(end + 1);
    }
  }

  std::vector<std::string> open_, tags_;
};

LineChart small_chart() {
  LineChart chart;
  chart.title = "bits < bytes & \"more\"";
  chart.x_label = "x";
  chart.y_label = "y";
  chart.series = {{"learned", {{0, 1}, {25, 0.5, 0.1}, {50, 0.7, 0.2}}, ChartSeries::Style::points},
                  {"random", {{50, 3}}, ChartSeries::Style::points, 1},
                  {"trace", {{0, 0}, {10, 1}, {20, 2}}, ChartSeries::Style::line, 2}};
  chart.levels = {{"no deletion", 0.25}};
  return chart;
}

TEST_CASE("A line chart shows its points", "[bench][curve]") {
  const std::string svg = svg_of({small_chart()});
  CHECK(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  CHECK(svg.find("viewBox=\"0 0 640.00 416.00\"") != std::string::npos);
  CHECK(svg.find("bits &lt; bytes &amp; &quot;more&quot;") != std::string::npos);
  const Markup markup(svg);
  CHECK(markup.count("svg") == 1);
  CHECK(markup.count("path") == 4 + 2 + 2);  // points, markers of the legend, lines: one point makes none
  for (const char* text : {">learned</text>", ">random</text>", ">trace</text>", ">no deletion</text>", ">x</text>"})
    CHECK(svg.find(text) != std::string::npos);
}

TEST_CASE("A look has its colour and marker whichever series stand beside it, on light and dark ground",
          "[bench][curve]") {
  LineChart alone;
  alone.series = {{"random", {{50, 3}, {60, 4}}, ChartSeries::Style::points, 1}};
  const std::string svg = svg_of({alone});
  CHECK(svg.find("class=\"c1 line dashes0\"") != std::string::npos);
  CHECK(svg.find("\"c0") == std::string::npos);
  CHECK(svg.find("prefers-color-scheme:dark") != std::string::npos);
  alone.series = {{"seed 1", {{0, 0}, {1, 1}}, ChartSeries::Style::line, 1},
                  {"seed 2", {{0, 0}, {1, 2}}, ChartSeries::Style::line, 1}};
  CHECK(svg_of({alone}).find("class=\"c1 line dashes1\"") != std::string::npos);
}

TEST_CASE("Charts below each other", "[bench][curve]") {
  const std::string svg = svg_of({small_chart(), small_chart()});
  CHECK(svg.find("viewBox=\"0 0 640.00 832.00\"") != std::string::npos);
  CHECK(Markup(svg).count("path") == 16);
}

TEST_CASE("Charts of nothing and of anything", "[bench][curve]") {
  const double nan = std::nan("");
  Markup(svg_of(std::vector<LineChart>{}));
  Markup(svg_of({LineChart{}}));
  Markup(svg_of(BarChart{}));
  LineChart odd = small_chart();
  odd.title = std::string("\x01\xFF\0</text><script>", 18);
  odd.series[0].points = {{nan, 1}, {1, infinity}, {1, 1, infinity}, {1, 1}};
  odd.series[1].points = {{-1e300, 1e300}, {1e300, -1e300}};
  odd.series[2].points = {{0, 0}};
  odd.levels = {{"<", nan}};
  const std::string svg = svg_of({odd});
  const Markup markup(svg);
  CHECK(markup.count("svg") == 1);
  LineChart one;
  one.series = {{"a", {{0, 0}}, ChartSeries::Style::points}};
  CHECK(Markup(svg_of({one})).count("path") == 2);
}

TEST_CASE("A bar chart has a bar a group and series", "[bench][curve]") {
  BarChart chart;
  chart.title = "Deletion rate";
  chart.groups = {"en", "de", "\xE4\xB8\xAD"};
  chart.series = {{"learned 50 %", {{40, 1}, {50, 0}, {10, 2}}}, {"random", {{50, 0}, {std::nan(""), 0}}}};
  const std::string svg = svg_of(chart);
  const Markup markup(svg);
  CHECK(markup.count("rect") == 1 + 4 + 2);  // background, bars, legend
  CHECK(svg.find(">\xE4\xB8\xAD</text>") != std::string::npos);
}

TEST_CASE("Ticks are round and cover everything", "[bench][curve]") {
  const auto same = [](const std::vector<double>& got, const std::vector<double>& expected) {
    REQUIRE(got.size() == expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK_THAT(got[i], WithinAbs(expected[i], 1e-9));
  };
  same(axis_ticks(0, 1, 6), {0, 0.2, 0.4, 0.6, 0.8, 1});
  same(axis_ticks(0, 0.3, 4), {0, 0.1, 0.2, 0.3});
  same(axis_ticks(-3, 72, 5), {-20, 0, 20, 40, 60, 80});
  for (const double most : {1e-12, 0.011, 7.0, 123456.0, 1e15}) {
    const std::vector<double> ticks = axis_ticks(0, most, 6);
    CHECK(ticks.size() >= 3);
    CHECK(ticks.size() <= 8);
    CHECK(ticks.front() <= 0);
    CHECK(ticks.back() >= most * (1 - 1e-6));
  }
  for (const auto& [least, most] : {std::pair{1.0, 1.0}, {2.0, 1.0}, {std::nan(""), 1.0}, {0.0, infinity}})
    same(axis_ticks(least, most, 5), {0, 1});
  CHECK(axis_ticks(1, 1 + 1e-15, 5).size() >= 2);
  CHECK(axis_ticks(-1e300, 1e300, 5).size() >= 2);
  const std::vector<double> neighbours = axis_ticks(1e20, 1e20 + 16384, 5);
  CHECK(neighbours.front() < neighbours.back());
}

}  // namespace curve_svg_test
