// Any bytes as a safetensors file.
#include "safetensors_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::check_safetensors(merganser::fuzz::as_bytes(merganser::fuzz::as_text(data, size)));
  return 0;
}
