// What the error of a call says, for tests.
#pragma once

#include <stdexcept>
#include <string>

#include <merganser/core/io_error.hpp>

namespace merganser::testing {

/// What the exception of this type says; `none` without one.
template <class Error, class Call>
std::string error_text(Call&& call, const char* none = "nothing thrown") {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return none;
}

/// What the std::invalid_argument of a call says; "nothing thrown" without one.
template <class Call>
std::string argument_error(Call&& call) {
  return error_text<std::invalid_argument>(call);
}

/// What the IoError of a call says; empty without one.
template <class Call>
std::string io_error(Call&& call) {
  return error_text<IoError>(call, "");
}

}  // namespace merganser::testing
