// One of two translation units that include everything; they must link, and agree about what they included.
#include <merganser/merganser.hpp>

#ifdef WITH_IO_HEADERS
#include <io_headers.hpp>
#endif

#include <string>

merganser::SequenceOffsets offsets_of_other_unit();
std::string version_of_other_unit();

int main() {
  const std::string numbers = std::to_string(MERGANSER_VERSION_MAJOR) + "." + std::to_string(MERGANSER_VERSION_MINOR) +
                              "." + std::to_string(MERGANSER_VERSION_PATCH);
  const bool same_version = numbers == MERGANSER_VERSION && numbers == version_of_other_unit();
  const bool same_type = offsets_of_other_unit() == merganser::SequenceOffsets::single(3);
  return same_version && same_type ? 0 : 1;
}
