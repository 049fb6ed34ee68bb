#include <merganser/runs/peak_memory.hpp>

#include <vector>

#include <support/catch.hpp>

namespace peak_memory_test {

using namespace merganser::runs;

#ifdef __linux__
TEST_CASE("The peak is at least what was written, and begins anew", "[runs]") {
  constexpr std::size_t bytes = 50'000'000;
  {
    const std::vector<char> much(bytes, 'x');
    CHECK(peak_memory_bytes() > static_cast<double>(bytes));
    CHECK(much[bytes / 2] == 'x');
  }
  const double before = peak_memory_bytes();
  reset_peak_memory();
  CHECK(peak_memory_bytes() <= before);
}
#endif

}  // namespace peak_memory_test
