#include <merganser/core/text_format.hpp>

#include <cmath>
#include <cstdlib>
#include <limits>

#include <support/catch.hpp>

namespace text_format_test {

using namespace merganser;

TEST_CASE("The shortest text of a number is read as the same number", "[core]") {
  CHECK(exact_text(0.1) == "0.1");
  CHECK(exact_text(3) == "3");
  CHECK(exact_text(1e300) == "1e+300");
  CHECK(exact_text(std::numeric_limits<double>::quiet_NaN()) == "nan");
  for (const double value : {1.0 / 3, -2.2250738585072014e-308, 5e-324, 0.30000000000000004})
    CHECK(std::strtod(exact_text(value).c_str(), nullptr) == value);
}

TEST_CASE("Fixed digits are rounded as printf rounds them", "[core]") {
  CHECK(fixed_text(0.125, 2) == "0.12");
  CHECK(fixed_text(2.5, 0) == "2");
  CHECK(fixed_text(-1.0, 3) == "-1.000");
  CHECK(fixed_text(1e300, 0).size() == 301);
  CHECK(fixed_text(std::numeric_limits<double>::max(), 9).size() == 319);
  CHECK(percent_text(0.186) == "18.6 %");
  CHECK(percent_text(0.5, 0) == "50 %");
}

TEST_CASE("Seconds are shown as a clock does", "[core]") {
  CHECK(clock_text(0) == "0:00");
  CHECK(clock_text(59.6) == "1:00");
  CHECK(clock_text(83) == "1:23");
  CHECK(clock_text(3599) == "59:59");
  CHECK(clock_text(3700) == "1:01:40");
}

TEST_CASE("Texts are aligned, joined and split", "[core]") {
  CHECK(right_aligned("ab", 4) == "  ab");
  CHECK(left_aligned("ab", 4) == "ab  ");
  CHECK(right_aligned("abcde", 4) == "abcde");
  CHECK(joined({"a", "", "c"}) == "a,,c");
  CHECK(joined({}) == "");
  CHECK(joined({"a", "b"}, " or ") == "a or b");
  CHECK(split("a,,b", ',') == std::vector<std::string>{"a", "", "b"});
  CHECK(split("a\nb\n", '\n') == std::vector<std::string>{"a", "b"});
  CHECK(split("", ',').empty());
}

}  // namespace text_format_test
