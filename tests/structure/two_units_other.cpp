// The other of two translation units that include everything.
#include <merganser/merganser.hpp>

#ifdef WITH_IO_HEADERS
#include <io_headers.hpp>
#endif

#include <string>

merganser::SequenceOffsets offsets_of_other_unit();
std::string version_of_other_unit();

merganser::SequenceOffsets offsets_of_other_unit() { return merganser::SequenceOffsets::single(3); }
std::string version_of_other_unit() { return MERGANSER_VERSION; }
