// Where the golden cases are.
#pragma once

#include <cstdlib>
#include <string>

namespace merganser::testing {

/// The environment variable MERGANSER_GOLDEN_DIR if it is set, else the folder tests/golden of the source tree.
inline std::string golden_dir() {
  const char* chosen = std::getenv("MERGANSER_GOLDEN_DIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : MERGANSER_GOLDEN_DIR;
}

}  // namespace merganser::testing
