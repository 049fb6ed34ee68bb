// The most memory this process has held so far.
#pragma once

#include <fstream>
#include <string>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// Peak resident memory in bytes (VmHWM of /proc/self/status); 0 where the system does not say.
inline double peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      double kibibytes = 0;
      status >> kibibytes;
      return kibibytes * 1024;
    }
  return 0;
}

/// Lets the peak begin anew at what the process holds now; where the system cannot, it stays that of the process.
inline void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace merganser::runs
