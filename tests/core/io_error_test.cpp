// IoError: its message and its place among the exceptions.
#include <merganser/core/io_error.hpp>

#include <string>

#include "support/catch.hpp"

using merganser::IoError;

TEST_CASE("IoError names file, field, got and expected", "[io_error]") {
  CHECK(std::string(IoError("model.safetensors", "shared.weight", "shape [2, 3]", "shape [3, 2]").what()) ==
        "model.safetensors: shared.weight: got shape [2, 3], expected shape [3, 2]");
  CHECK(std::string(IoError(std::string("a.bin"), "version", 7, std::string("1 or 2")).what()) ==
        "a.bin: version: got 7, expected 1 or 2");
}

TEST_CASE("an IoError is one line that nothing cuts off", "[io_error]") {
  const std::string key("a\0b\n\x1b[2J\x7f", 9);
  CHECK(std::string(IoError("f", key, "\r", "\xc3\xa4").what()) ==
        "f: a\\x00b\\x0a\\x1b[2J\\x7f: got \\x0d, expected \xc3\xa4");
}

TEST_CASE("IoError is a runtime error and can be copied", "[io_error]") {
  const IoError error("f", "g", 1, 2);
  const IoError copy = error;
  CHECK(std::string(copy.what()) == "f: g: got 1, expected 2");
  CHECK_THROWS_AS([] { throw IoError("f", "g", 1, 2); }(), std::runtime_error);
}
