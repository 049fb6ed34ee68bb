#include <merganser/kernels/register_block.hpp>

#include <merganser/kernels/packed_matrix.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace register_block_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("a block goes on from the sums it left", "[multiply_block]", float, double) {
  constexpr Index rows = 3, width = PackedMatrix<TestType>::panel_width;
  Rng rng(1);
  const auto a = random_matrix<TestType>(rows, 40, rng), b = random_matrix<TestType>(40, 2 * width, rng);
  const PackedMatrix<TestType> packed(b, Orientation::as_is);
  const auto run = [&](Index first, Index depth, Matrix<TestType>& sums) {
    kernels::detail::multiply_block<TestType, rows, 2>(
        {.depth = depth,
         .a = {a.data() + first, a.outerStride(), 1},
         .b = packed.panel(0) + first * width,
         .b_stride = width,
         .panel_step = 40 * width,
         .sums = sums.data(),
         .stride = sums.outerStride(),
         .start = first > 0 ? kernels::detail::BlockStart::add : kernels::detail::BlockStart::zero});
  };
  Matrix<TestType> whole(rows, 2 * width), parts(rows, 2 * width);
  run(0, 40, whole);
  run(0, 17, parts);
  run(17, 23, parts);
  REQUIRE(identical(whole, parts));
  REQUIRE((whole - a * b).cwiseAbs().maxCoeff() <= TestType(1e-4));
}

}  // namespace register_block_test
