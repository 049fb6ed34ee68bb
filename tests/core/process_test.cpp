#include <merganser/core/process.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "support/catch.hpp"

namespace process_test {

using namespace merganser;

TEST_CASE("an object is at home in the process that made it", "[process]") { REQUIRE(HomeProcess().is_here()); }

#if defined(__unix__) || defined(__APPLE__)

TEST_CASE("a child of fork knows what its parent made", "[process]") {
  const HomeProcess parent;
  const pid_t child = ::fork();
  if (child == 0) {
    const HomeProcess own;
    const pid_t grandchild = ::fork();
    if (grandchild == 0) ::_exit(!own.is_here() && !parent.is_here() && HomeProcess().is_here() ? 0 : 1);
    int status = 1;
    ::waitpid(grandchild, &status, 0);
    ::_exit(own.is_here() && !parent.is_here() ? status : 1);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  REQUIRE(status == 0);
  REQUIRE(parent.is_here());
}

#endif

}  // namespace process_test
