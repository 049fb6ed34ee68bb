// Compiled while CMake configures: merganser_add_compiled finds in what comes out which namespace the flags make.
#include <merganser/core/instruction_set.hpp>

extern const char merganser_compiled_for[];
const char merganser_compiled_for[] = "merganser_compiled_for=" MERGANSER_ISA_TEXT(MERGANSER_ISA) "!";
