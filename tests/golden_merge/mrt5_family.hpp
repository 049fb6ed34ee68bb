// MrT5's gate and controller, and the convolution of its CANINE baseline.
#pragma once

#include <merganser/kernels/softmax.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/pi_controller.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/strided_convolution.hpp>

#include "golden_merge/golden_merge.hpp"

namespace merganser::testing {

template <Real Scalar>
void mrt5_gate(MergeCase<Scalar>& c) {
  const Matrix<Scalar> x = c.matrix("in.h");
  merge::DeleteGate<Scalar> gate({.width = x.cols(), .scale = c.number("param.scale")});
  gate.norm.scale = c.matrix("in.ln_w").reshaped().transpose();
  gate.weight = c.matrix("in.ff_w");
  gate.bias[0] = c.vector("in.ff_b")[0];
  const merge::GateValues<Scalar> said = gate.forward({x});
  c.compare("out.gate", said.values);
  c.compare("out.gate_logits", said.logits);
  const SequenceOffsets offsets = SequenceOffsets::single(x.rows());
  const auto start = merge::TokenState<Scalar>::start(offsets, counting_positions(offsets));
  const merge::DeletionStep<Scalar> step(start, said.values, c.number("param.threshold"), {});
  const Vector<Index> kept = step.kept_rows();
  c.compare_exactly("out.positions", kept);
  c.compare("out.hard_hidden", step.forward(x));
  const Index heads = c.shape("in.scores").at(0), n = x.rows();
  Matrix<Scalar> soft(heads * n, n), soft1(heads * n, n), bias(heads * kept.size(), kept.size());
  for (Index head = 0; head < heads; ++head) {
    const Matrix<Scalar> scores = c.head("in.scores", head), position = c.head("in.pos_bias", head);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) soft(head * n + i, j) = soft1(head * n + i, j) = scores(i, j) + said.values[j];
      kernels::softmax_row(n, soft.row(head * n + i).data(), kernels::SoftmaxKind::softmax);
      kernels::softmax_row(n, soft1.row(head * n + i).data(), kernels::SoftmaxKind::softmax1);
    }
    for (Index i = 0; i < kept.size(); ++i)
      for (Index j = 0; j < kept.size(); ++j) bias(head * kept.size() + i, j) = position(kept[i], kept[j]);
  }
  c.compare("out.soft_attn", soft);
  c.compare("out.soft_attn_softmax1", soft1);
  c.compare("out.hard_pos_bias", bias);
}

template <Real Scalar>
void mrt5_pi(MergeCase<Scalar>& c) {
  merge::PiController controller(
      {c.number("param.target"), c.number("param.kp"), c.number("param.ki"), merge::ControllerRange::non_negative});
  Vector<Scalar> alpha;
  for (const Scalar rate : c.vector("in.rate")) alpha.push_back(static_cast<Scalar>(controller.update(rate)));
  c.compare("out.alpha", alpha);
}

template <Real Scalar>
void canine_down(MergeCase<Scalar>& c) {
  const Index rate = c.integer("param.rate");
  const Matrix<Scalar> all = c.matrix("in.x");
  const Matrix<Scalar> x = all.topRows(all.rows() / rate * rate);  // the reference drops a short last group
  merge::StridedConvolution<Scalar> convolution({x.cols(), rate});
  const Matrix<Scalar> weight = c.matrix("in.w");  // [out, in, tap]
  std::copy_n(weight.data(), weight.size(), convolution.weight.data());
  convolution.bias = c.matrix("in.b").reshaped().transpose();
  const SequenceOffsets offsets = SequenceOffsets::single(x.rows());
  const merge::Compaction<Scalar> groups(merge::strided_plans<Scalar>(offsets, rate), offsets);
  c.compare("out.y", convolution.forward(x, groups));
}

}  // namespace merganser::testing
