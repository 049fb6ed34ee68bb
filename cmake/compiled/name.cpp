// Compiled with the flags of a merganser::compiled: header.cmake finds in the object which namespace they make.
#include <merganser/core/instruction_set.hpp>

extern const char merganser_compiled_for[];
const char merganser_compiled_for[] = "merganser_compiled_for=" MERGANSER_ISA_TEXT(MERGANSER_ISA) "!";
