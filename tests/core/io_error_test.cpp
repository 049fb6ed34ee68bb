// IoError: its message and its place among the exceptions.
#include <merganser/core/io_error.hpp>

#include <string>

#include "support/catch.hpp"

namespace io_error_test {

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

TEST_CASE("a text from outside is shown as far as it is text", "[io_error]") {
  using merganser::printable;
  CHECK(printable("a \xc3\xa4 \xe2\x82\xac \xf0\x9f\xa6\x86") == "a \xc3\xa4 \xe2\x82\xac \xf0\x9f\xa6\x86");
  // Controls above 0x7f, alone and as UTF-8: 0x9b begins an escape sequence.
  CHECK(printable("\x9b"
                  "2J") == "\\x9b2J");
  CHECK(printable("\xc2\x9b"
                  "2J") == "\\xc2\\x9b2J");
  CHECK(printable("\xc2\xa0") == "\xc2\xa0");
  CHECK(printable("\xe2\x80\xae") == "\\xe2\\x80\\xae");  // from right to left
  // Broken off, overlong, surrogate, beyond the last character.
  CHECK(printable("\xe2\x82") == "\\xe2\\x82");
  CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");
  CHECK(printable("\xe0\x80\xaf") == "\\xe0\\x80\\xaf");
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");
  CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
}

TEST_CASE("a long text is cut between characters, and its length said", "[io_error]") {
  using merganser::printable;
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdefg", 6) == "abcdef... (7 bytes)");
  CHECK(printable("aa\xe2\x82\xac\xe2\x82\xac", 3) == "aa\xe2\x82\xac... (8 bytes)");
  const std::string name(20'000'000, 'n');
  const std::string text = IoError("f", name, "no such tensor", "one").what();
  CHECK(text == "f: " + name.substr(0, 1000) + "... (20000000 bytes): got no such tensor, expected one");
}

TEST_CASE("IoError is a runtime error and can be copied", "[io_error]") {
  const IoError error("f", "g", 1, 2);
  const IoError copy = error;
  CHECK(std::string(copy.what()) == "f: g: got 1, expected 2");
  CHECK_THROWS_AS([] { throw IoError("f", "g", 1, 2); }(), std::runtime_error);
}

}  // namespace io_error_test
