// The choice among levels: the same unit, compiled for several instruction sets, in one program.
#pragma once

#include <cstdlib>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <merganser/core/check.hpp>
#include <merganser/core/instruction_set.hpp>
#include <merganser/core/processor.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A unit as it was compiled for one instruction set. `merganser_add_dispatched` of cmake/Dispatch.cmake makes it, and
/// writes the table of levels.
struct Level {
  using Initializer = void (*)(int, char**, char**);

  std::string_view name;  ///< as in CMake: "base", "v3"
  Instructions needs = 0;
  std::span<const Initializer> initializers = {};  ///< of its static variables; run when the level is chosen
};

/// The variable of the environment that asks for a level by name.
inline constexpr const char* level_variable = "MERGANSER_LEVEL";

/// The number of the level to run: the last one all of whose instructions are `available`, or the one of the name
/// `asked`, unless that is empty.
/// @param levels from the one that runs everywhere to the one that needs most
/// @throws std::runtime_error if none can run, or the one asked for does not exist or cannot
inline std::size_t choose_level(std::span<const Level> levels, Instructions available, std::string_view asked) {
  std::string names;
  for (std::size_t i = levels.size(); i-- > 0;) {
    const Instructions missing = levels[i].needs & ~available;
    if (asked.empty() ? missing == 0 : levels[i].name == asked && missing == 0) return i;
    if (!asked.empty() && levels[i].name == asked)
      throw std::runtime_error(
          got_and_expected(level_variable, "level", std::string(asked),
                           "one that this processor has (missing: " + extension_names(missing) + ")"));
    names.insert(0, (i > 0 ? ", " : "") + std::string(levels[i].name));
  }
  if (!asked.empty())
    throw std::runtime_error(got_and_expected(level_variable, "level", std::string(asked), "one of " + names));
  throw std::runtime_error("this program was compiled for newer processors than this one, which lacks " +
                           extension_names(levels.front().needs & ~available));
}

/// Chooses for this processor and MERGANSER_LEVEL, and initialises what it chose. To be called once a unit.
inline std::size_t start_level(std::span<const Level> levels) {
  const char* const asked = std::getenv(level_variable);
  const std::size_t chosen = choose_level(levels, processor_instructions(), asked != nullptr ? asked : "");
  for (const Level::Initializer initialize : levels[chosen].initializers) initialize(0, nullptr, nullptr);
  return chosen;
}

}  // namespace merganser
