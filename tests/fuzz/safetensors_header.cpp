// Any text as the header of a safetensors file whose header length is right. The input: how many bytes of data, a
// newline, the header.
#include <algorithm>
#include <string>

#include "safetensors_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace merganser::fuzz;
  std::string_view header = as_text(data, size);
  constexpr std::size_t most = 4096;
  std::size_t data_size = 0;
  for (const char digit : take_until(header, '\n'))
    data_size = std::min(most, data_size * 10 + static_cast<unsigned char>(digit) % 10);
  std::string numbers;
  for (std::size_t i = 0; i < data_size; ++i) numbers.push_back(static_cast<char>(i * 37 % 256));
  check_safetensors(safetensors_file(header, numbers));
  return 0;
}
