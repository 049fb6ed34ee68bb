// What a terminal can do, where there is none.
#include <merganser/runs/terminal.hpp>

#include <cstdlib>

#include <fcntl.h>
#include <unistd.h>

#include "support/catch.hpp"

namespace terminal_test {

using namespace merganser::runs;

TEST_CASE("a file is no terminal, and has the columns of COLUMNS", "[terminal]") {
  const int file = ::open("/dev/null", O_RDONLY);
  REQUIRE(file >= 0);
  CHECK_FALSE(is_terminal(file));
  CHECK_FALSE(terminal_columns(file).has_value());
  ::setenv("COLUMNS", "60", 1);
  CHECK(columns_of(file) == 60);
  CHECK(prose_columns(file) == 60);
  ::setenv("COLUMNS", "132", 1);
  CHECK(view_columns(file) == 132);
  CHECK(prose_columns(file) == 80);
  ::setenv("COLUMNS", "5", 1);
  CHECK(view_columns(file) == 20);
  for (const char* nonsense : {"", "0", "-3", "60x", "99999999999999999999999"}) {
    ::setenv("COLUMNS", nonsense, 1);
    CHECK(columns_of(file) == usual_columns);
    CHECK(columns_of(file, 120) == 120);
  }
  ::unsetenv("COLUMNS");
  ::close(file);
}

TEST_CASE("a plain choice of colour wins", "[terminal]") {
  ::setenv("NO_COLOR", "1", 1);
  CHECK(wants_color(ColorChoice::always));
  CHECK_FALSE(wants_color(ColorChoice::automatic));
  ::unsetenv("NO_COLOR");
  CHECK_FALSE(wants_color(ColorChoice::never));
}

}  // namespace terminal_test
