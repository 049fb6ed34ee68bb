#include <merganser/kernels/register_block.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("a block goes on from the sums it left", "[multiply_block]", float, double) {
  constexpr Index rows = 3, width = PackedMatrix<TestType>::panel_width;
  Rng rng(1);
  const auto a = random_matrix<TestType>(rows, 40, rng), b = random_matrix<TestType>(40, 2 * width, rng);
  const PackedMatrix<TestType> packed(b, Orientation::as_is);
  const auto run = [&](Index first, Index depth, Matrix<TestType>& sums) {
    kernels::detail::multiply_block<TestType, kernels::detail::FullPanel<TestType>, 2>(
        depth, {a.data() + first, a.outerStride(), 1}, packed.panel(0) + first * width, 40 * width,
        {reinterpret_cast<const char*>(packed.panel(0)), 0}, sums.data(), sums.outerStride(), first > 0,
        std::make_index_sequence<static_cast<std::size_t>(rows)>{});
  };
  Matrix<TestType> whole(rows, 2 * width), parts(rows, 2 * width);
  run(0, 40, whole);
  run(0, 17, parts);
  run(17, 23, parts);
  REQUIRE(identical(whole, parts));
  REQUIRE((whole - a * b).cwiseAbs().maxCoeff() <= TestType(1e-4));
}
