#include <merganser/core/marks.hpp>

#include <array>
#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace marks_test {

using namespace merganser;
using merganser::testing::argument_error;

TEST_CASE("without marks no row is marked", "[Marks]") {
  const Marks none;
  REQUIRE_FALSE((none[0] || none[1000] || none.any()));
  REQUIRE((none.count() == 0 && none.size() == 0 && none.list().empty()));
  REQUIRE_FALSE(none.of({5, 7})[6]);
  none.check("here", "pads", 12);
}

TEST_CASE("what is not 0 marks its row", "[Marks]") {
  const Vector<std::uint8_t> list = {0, 1, 0, 255, 2};
  const Marks marks = list;
  REQUIRE((!marks[0] && marks[1] && !marks[2] && marks[3] && marks[4]));
  REQUIRE((marks.any() && marks.count() == 3 && marks.size() == 5 && marks.list().data() == list.data()));
  const Marks part = marks.of({2, 2});
  REQUIRE((part.size() == 2 && !part[0] && part[1]));
  REQUIRE_FALSE(marks.of({2, 1}).any());
  REQUIRE(Marks(std::vector<std::uint8_t>{0, 0}).count() == 0);
  REQUIRE(Marks(std::array<std::uint8_t, 2>{0, 3})[1]);
}

TEST_CASE("marks are one a row or none", "[Marks]") {
  const Vector<std::uint8_t> list = {0, 1};
  Marks(list).check("here", "pads", 2);
  REQUIRE(argument_error([&] { Marks(list).check("here", "pads", 3); }) == "here: pads.size(): got 2, expected 3");
  REQUIRE(argument_error([&] { Marks(list).check("here", "pads", 0); }) == "here: pads.size(): got 2, expected 0");
}

TEST_CASE("marks are added to others", "[Marks]") {
  const Vector<std::uint8_t> more = {0, 1, 5, 0};
  Vector<std::uint8_t> marks;
  add_marks({}, marks);
  REQUIRE(marks.empty());
  add_marks(more, marks);
  REQUIRE(marks == Vector<std::uint8_t>{0, 1, 1, 0});
  marks = {1, 1, 0, 0};
  add_marks(more, marks);
  REQUIRE(marks == Vector<std::uint8_t>{1, 1, 1, 0});
  add_marks({}, marks);
  REQUIRE(marks == Vector<std::uint8_t>{1, 1, 1, 0});
}

}  // namespace marks_test
