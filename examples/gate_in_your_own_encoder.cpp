// A delete gate in an encoder of your own: two attention layers in plain Eigen with a DeleteGate between them, once
// soft (the gate value of a key is added to its scores) and once hard (deleted rows are gone). Prints the survivors
// with their original positions, and how far apart the two outputs are.
#include <cmath>
#include <cstddef>
#include <iostream>
#include <vector>

#include <Eigen/Core>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/policies/delete_gate.hpp>

namespace merge = merganser::merge;
using Eigen::Index;
using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using State = merge::TokenState<float>;

namespace {

constexpr Index width = 16;

Rows random_rows(Index rows, merganser::Rng& rng, double deviation) {
  return Rows::NullaryExpr(rows, width, [&] { return static_cast<float>(deviation * rng.normal()); });
}

/// x + softmax(x Q (x K)^T - distance / 4 + key bias) x V, for each sequence by itself.
struct MyLayer {
  Rows q, k, v;

  explicit MyLayer(merganser::Rng& rng)
      : q(random_rows(width, rng, 0.125)), k(random_rows(width, rng, 0.25)), v(random_rows(width, rng, 0.25)) {}

  Rows forward(const Rows& x, const State& tokens) const {
    Rows y = x;
    for (Index i = 0; i < tokens.offsets.count(); ++i) {
      const Index begin = tokens.offsets.begin(i), length = tokens.offsets.length(i);
      const Rows own = x.middleRows(begin, length);
      const Eigen::VectorXf places =
          Eigen::Map<const Eigen::VectorXi>(tokens.positions.data() + begin, length).cast<float>();
      Rows scores = own * q * (own * k).transpose();
      scores -= 0.25F * (places.replicate(1, length) - places.transpose().replicate(length, 1)).cwiseAbs();
      if (!tokens.key_bias.empty())  // all that soft deletion asks of an attention
        scores.rowwise() += Eigen::Map<const Eigen::RowVectorXf>(tokens.key_bias.data() + begin, length);
      const Eigen::VectorXf largest = scores.rowwise().maxCoeff();
      Rows weights = (scores.colwise() - largest).array().exp();
      weights.array().colwise() /= weights.rowwise().sum().eval().array();
      y.middleRows(begin, length) += weights * (own * v);
    }
    return y;
  }
};

}  // namespace

int main() {
  merganser::Rng rng(3);
  const MyLayer first(rng), second(rng);
  merge::DeleteGate<float>::Config config;
  config.width = width;
  merge::DeleteGate<float> gate(config);
  gate.initialize(40.0, rng);  // a new gate keeps everything; this one is as sure as a trained one

  const auto offsets = merganser::SequenceOffsets::from_lengths(std::vector<Index>{9, 4, 7});
  const State start = State::start(offsets, merganser::counting_positions(offsets));
  const Rows hidden = first.forward(random_rows(offsets.total(), rng, 1.0), start);

  const merganser::Vector<float> values = gate.forward({hidden}).values;
  const auto apply = [&](merge::DeletionMode mode) {
    return merge::DeletionStep<float>(start, values, gate.default_threshold(), merge::DeletionOptions::with_mode(mode));
  };
  const auto soft = apply(merge::DeletionMode::soft), hard = apply(merge::DeletionMode::hard);
  const State& survivors = hard.after();
  const Rows with_all = second.forward(soft.forward(hidden), soft.after());
  const Rows with_some = second.forward(hard.forward(hidden), survivors);
  State renumbered = survivors;  // what would happen if positions did not travel along
  renumbered.positions = merganser::counting_positions(survivors.offsets);

  bool right = survivors.total() > 0 && survivors.total() < start.total();
  Rows expected(survivors.total(), width);
  for (Index row = 0; row < expected.rows(); ++row) {
    const merganser::Index origin = survivors.origin[row];
    expected.row(row) = with_all.row(origin);
    right = right && survivors.positions[row] == start.positions[origin];
    std::cout << "row " << row << " was row " << origin << ", position " << survivors.positions[row] << ", gate value "
              << values[origin] << '\n';
  }
  const float difference = (with_some - expected).cwiseAbs().maxCoeff();
  const float misplaced = (second.forward(hard.forward(hidden), renumbered) - expected).cwiseAbs().maxCoeff();
  std::cout << "soft [" << with_all.rows() << " x " << width << "], hard [" << with_some.rows() << " x " << width
            << "], largest difference on the survivors " << difference << "\nwith positions counted anew it would be "
            << misplaced << '\n';
  return right && difference < 1e-3F && misplaced > 10 * difference ? 0 : 1;
}
