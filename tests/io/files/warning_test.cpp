#include <merganser/io/files/warning.hpp>

#include <string>

#include "support/catch.hpp"

namespace warning_test {

using namespace merganser;

TEST_CASE("a warning is one line, and nobody need hear it", "[warning]") {
  std::string heard;
  io::detail::warn([&](const std::string& text) { heard = text; }, "some/file", "a\nkey", "is passed over");
  CHECK(heard == "some/file: a\\x0akey: is passed over");
  CHECK_NOTHROW(io::detail::warn({}, "f", "k", "w"));
}

}  // namespace warning_test
