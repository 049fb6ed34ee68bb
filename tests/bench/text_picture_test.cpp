// A text as a picture: what went is dimmed, in lines of a width.
#include <text_picture.hpp>

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace text_picture_test {

using merganser::evaluation::DeletionSegment;
using merganser::evaluation::TokenFate;

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("A picture dims what was deleted", "[text_picture]") {
  const std::vector<DeletionSegment> units = {{"<", TokenFate::kept},
                                              {"\xC3\xBC", TokenFate::partly_deleted},
                                              {" ", TokenFate::deleted},
                                              {"&", TokenFate::deleted}};
  const std::string svg = byte_demo::picture_of(units, "a & b");
  CHECK(svg.starts_with("<svg xmlns="));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(holds(svg, "x=\"26\" y=\"48\">&lt;</text>"));
  CHECK(holds(svg, "x=\"40\" y=\"48\" class=\"partly\">\xC3\xBC</text>"));
  CHECK(holds(svg, "x=\"54\" y=\"48\" class=\"deleted\">\xC2\xB7</text>"));
  CHECK(holds(svg, "class=\"deleted\">&amp;</text>"));
  CHECK(holds(svg, "<title>a &amp; b</title>"));
  CHECK(holds(svg, "prefers-color-scheme:dark"));
}

TEST_CASE("A picture breaks lines at blanks, or where there is none, anywhere", "[text_picture]") {
  std::vector<DeletionSegment> units(40, {"a", TokenFate::kept});
  units[30].text = " ";
  for (int i = 0; i < 20; ++i) units.push_back({"b", TokenFate::kept});
  CHECK(holds(byte_demo::picture_of(units, ""), "x=\"26\" y=\"88\">a<"));
  units[30].text = "a";
  CHECK(holds(byte_demo::picture_of(units, ""), "x=\"26\" y=\"88\">b<"));
  CHECK(holds(byte_demo::picture_of(std::vector<DeletionSegment>{{std::string(90, 'c'), TokenFate::kept}}, ""),
              "y=\"88\" class=\"caption\""));
  CHECK(holds(byte_demo::picture_of({}, "nothing"), "y=\"48\" class=\"caption\">nothing"));
}

}  // namespace text_picture_test
