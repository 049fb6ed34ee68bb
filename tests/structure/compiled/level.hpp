// The entry point of the unit that is compiled for several levels.
#pragma once

/// 1 if the unit makes its own instantiations.
extern "C" int own_instantiations();
