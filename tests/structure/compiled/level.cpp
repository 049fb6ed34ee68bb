// A unit that is compiled for several levels: each is linked by itself and cannot look for anything in a library.
#include "level.hpp"

#include <merganser/core/instruction_set.hpp>

int own_instantiations() { return MERGANSER_COMPILED ? 0 : 1; }
