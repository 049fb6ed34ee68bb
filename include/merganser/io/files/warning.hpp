// Telling a program what was passed over. The library itself prints nothing.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <merganser/core/instruction_set.hpp>
#include <merganser/core/io_error.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// Is called with one line, "file: field: what was passed over and why", for everything in a file that was left out of
/// account although whoever wrote it may have meant something by it. Comes from the calling thread, before the function
/// that it was given to returns; an exception of it goes through. May be empty: then nobody is told.
using WarningCallback = std::function<void(const std::string& text)>;

namespace detail {

inline void warn(const WarningCallback& on_warning, std::string_view file, std::string_view field,
                 std::string_view what) {
  if (on_warning) on_warning(printable(file) + ": " + printable(field) + ": " + printable(what));
}

}  // namespace detail

}  // namespace merganser::io
