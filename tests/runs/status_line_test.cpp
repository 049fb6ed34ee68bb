// The line that tells how a job stands fits, and leaves notes alone.
#include <merganser/runs/status_line.hpp>

#include <cstddef>
#include <optional>
#include <sstream>
#include <vector>

#include "support/catch.hpp"

namespace status_line_test {

using namespace merganser::runs;

const std::vector<StatusPart> parts = {{"10/20", 0}, {"loss 1.5", 1}, {"alpha 0.1", 3}, {"9 kB/s", 2}};

TEST_CASE("a status leaves out what can be spared and never reaches the last column", "[status_line]") {
  CHECK(status_text(parts, std::nullopt) == "10/20 loss 1.5 alpha 0.1 9 kB/s");
  CHECK(status_text(parts, 32) == "10/20 loss 1.5 alpha 0.1 9 kB/s");
  CHECK(status_text(parts, 31) == "10/20 loss 1.5 9 kB/s");
  CHECK(status_text(parts, 20) == "10/20 loss 1.5");
  CHECK(status_text(parts, 10) == "10/20");
  CHECK(status_text(parts, 4) == "10/");
  for (std::size_t columns = 2; columns < 40; ++columns) CHECK(status_text(parts, columns).size() < columns);
}

TEST_CASE("elsewhere than on a terminal a status is a line", "[status_line]") {
  std::ostringstream out;
  {
    StatusLine line(out, [] { return std::nullopt; });
    CHECK_FALSE(line.due());
    line.show({{"1/2"}});
    line.note("a note");
    line.show({{"2/2"}});
    line.finish();
  }
  CHECK(out.str() == "1/2\na note\n2/2\n");
}

TEST_CASE("on a terminal a status is written over, and the last one stays", "[status_line]") {
  std::ostringstream out;
  std::optional<std::size_t> columns = 80;
  {
    StatusLine line(out, [&] { return columns; });
    line.show(parts);
    columns = 20;  // the window became narrower
    line.show(parts);
    line.note("a note");
    line.show({{"2/2"}});
  }
  CHECK(out.str() == "\r\x1B[K10/20 loss 1.5 alpha 0.1 9 kB/s\r\x1B[K10/20 loss 1.5\r\x1B[Ka note\n\r\x1B[K2/2\n");
}

}  // namespace status_line_test
