#include <merganser/core/processor.hpp>

#include <iterator>
#include <string>

#include "support/catch.hpp"

namespace processor_test {

using namespace merganser;

TEST_CASE("the processor that runs this has what this unit was compiled for", "[processor]") {
  const Instructions missing = needed_instructions & ~processor_instructions();
  CAPTURE(extension_names(missing));
  REQUIRE(missing == 0);
}

TEST_CASE("what a unit needs are the extensions that its compiler may use", "[processor]") {
  const std::string needed = " " + extension_names(needed_instructions) + " ";
  CAPTURE(needed);
#if defined(__AVX2__)
  REQUIRE(needed.find(" avx2 ") != std::string::npos);
#else
  REQUIRE(needed.find(" avx2 ") == std::string::npos);
#endif
#if defined(__FMA__)
  REQUIRE(needed.find(" fma ") != std::string::npos);
#else
  REQUIRE(needed.find(" fma ") == std::string::npos);
#endif
}

TEST_CASE("sets of extensions are named in order", "[processor]") {
  REQUIRE(extension_names(0).empty());
  const std::string first(detail::extensions[0].name);
  REQUIRE(extension_names(1) == first);
  if (std::size(detail::extensions) > 1)
    REQUIRE(extension_names(3) == first + " " + std::string(detail::extensions[1].name));
}

TEST_CASE("every extension has a bit of its own", "[processor]") { REQUIRE(std::size(detail::extensions) <= 64); }

}  // namespace processor_test
