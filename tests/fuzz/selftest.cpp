// Any text as a selftest.json.
#include <cmath>

#include <merganser/io/models/selftest_file.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

void run(std::string_view text) {
  const auto selftest = unless_refused([&] { return io::parse_selftest(text, "selftest"); });
  if (!selftest) return;
  require(selftest->tolerance > 0 && std::isfinite(selftest->tolerance), "a tolerance is positive");
  for (const io::SelftestCase& one : selftest->cases) {
    for (const Position position : one.kept)
      require(position >= 0 && std::cmp_less(position, one.source.size()), "positions of the source");
    require(!one.target.empty(), "a target has a start");
    for (const io::SelftestLogits& row : one.logits) {
      require(row.position >= 0 && std::cmp_less(row.position, one.target.size()), "positions of the target");
      require(!row.values.empty(), "a row has numbers");
      for (const double value : row.values) require(std::isfinite(value), "logits are finite");
    }
  }
  require(io::parse_selftest(io::to_json(*selftest), "again") == *selftest, "a self-test comes back");
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
