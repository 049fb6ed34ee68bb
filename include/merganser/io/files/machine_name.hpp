// The machine that something was measured on.
#pragma once

#include <fstream>
#include <string>

#include <merganser/core/io_error.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// The name of the processor, which times depend on; empty where the system does not say (it is Linux that does).
inline std::string machine_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (const std::size_t colon = line.find(": "); line.starts_with("model name") && colon != std::string::npos)
      return printable(line.substr(colon + 2));
  return {};
}

}  // namespace merganser::io
