#include <merganser/core/instruction_set.hpp>

#include <string>
#include <typeinfo>

#include "support/catch.hpp"

using namespace merganser;

namespace merganser::inline MERGANSER_ISA {
struct InsideTheNamespace {};
}  // namespace merganser

TEST_CASE("the instruction set is that of this unit's flags", "[instruction_set]") {
  const std::string name(instruction_set);
  CAPTURE(name);
#if defined(EIGEN_DONT_VECTORIZE)
  REQUIRE(name.starts_with("scalar"));
#elif defined(__AVX512DQ__)
  REQUIRE(name.starts_with("x86_avx512dq"));
#elif defined(__AVX2__)
  REQUIRE(name.starts_with("x86_avx2"));
#elif defined(__SSE2__)
  REQUIRE(name.starts_with("x86_"));
#elif defined(__aarch64__)
  REQUIRE(name.starts_with("arm_"));
#endif
#if defined(__FMA__)
  REQUIRE(name.find("_fma") != std::string::npos);
#else
  REQUIRE(name.find("x86_sse2_fma") == std::string::npos);
#endif
  REQUIRE(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos);
}

TEST_CASE("the instruction set stands in the name of every symbol", "[instruction_set]") {
  const std::string mangled = typeid(InsideTheNamespace).name();
  REQUIRE(mangled.find(std::string(instruction_set)) != std::string::npos);
}
