#include <merganser/io/files/machine_name.hpp>

#include <string>

#include "support/catch.hpp"

namespace machine_name_test {

TEST_CASE("a machine has one name, of one line", "[machine_name]") {
  const std::string name = merganser::io::machine_name();
  CHECK(name == merganser::io::machine_name());
  CHECK(name.find('\n') == std::string::npos);
}

}  // namespace machine_name_test
