// The threads of a program are there while it lives.
#include <merganser/runs/program_threads.hpp>

#include <optional>
#include <sstream>

#include <merganser/core/executor.hpp>

#include "support/catch.hpp"

namespace program_threads_test {

using namespace merganser;

TEST_CASE("loops run on as many threads as are asked for", "[program_threads]") {
  std::ostringstream notes;
  {
    const runs::ProgramThreads threads(3, notes);
    CHECK(thread_count() == 3);
  }
  CHECK(notes.str().empty());
  const runs::ProgramThreads all(std::nullopt, notes);
  CHECK(thread_count() == hardware_threads());
}

}  // namespace program_threads_test
