// The first signal is noted, and the handlers of before come back.
#include <merganser/runs/signals.hpp>

#include <csignal>

#include <signal.h>

#include "support/catch.hpp"

namespace signals_test {

using namespace merganser::runs;

bool is_default(int signal) {
  struct sigaction action {};
  sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_DFL;
}

TEST_CASE("a signal is noted once, the second would end the program", "[signals]") {
  {
    const CatchSignals signals;
    CHECK(CatchSignals::caught() == 0);
    CHECK_FALSE(is_default(SIGINT));
    std::raise(SIGTERM);
    CHECK(CatchSignals::caught() == SIGTERM);
    CHECK(is_default(SIGINT));
    CHECK(is_default(SIGTERM));
  }
  CHECK(CatchSignals::caught() == SIGTERM);
  const CatchSignals next;
  CHECK(CatchSignals::caught() == 0);
}

TEST_CASE("exit codes are those of a shell", "[signals]") {
  CHECK(Interrupted{SIGINT}.exit_code() == 130);
  CHECK(Interrupted{SIGTERM}.exit_code() == 143);
}

}  // namespace signals_test
