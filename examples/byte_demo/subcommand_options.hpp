// The options of the subcommands of byte_demo but `train`, whose table is in the library.
#pragma once

#include <merganser/runs/option.hpp>

#include <options.hpp>

namespace byte_demo {

// What the tables read goes into `options`, which outlives them.
runs::OptionTable option_table(FirstRunOptions& options);
runs::OptionTable option_table(VowelOptions& options);
runs::OptionTable option_table(EvaluateOptions& options);
runs::OptionTable option_table(ShowOptions& options);
runs::OptionTable option_table(GenerateOptions& options);
runs::OptionTable option_table(CalibrateOptions& options);
runs::OptionTable option_table(SelftestOptions& options);
runs::OptionTable option_table(ConvertOptions& options);

}  // namespace byte_demo
