// A policy of one's own: in a loaded model, in a training run, and in the curve beside others.
#include <iostream>

#include <merganser/io/models/model_directory.hpp>
#include <merganser/merganser.hpp>
#include <merganser/runs/curve.hpp>
#include <merganser/runs/named_policies.hpp>

using namespace merganser;

/// A token joins the one in front of it when they are nearly the same.
struct MergeAlikeNeighbours {
  double least = 0.9;  ///< cosine

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    Vector<Index> joins;
    for (Index i = 0; i < tokens.count(); ++i)
      joins.push_back(i > 0 && merge::cosine(tokens.x, i, i - 1) >= static_cast<Scalar>(least) ? joins.back() : i);
    return merge::plan_of_targets<Scalar>(joins, tokens.sizes);
  }
};

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "usage: policy_of_your_own MODEL_DIR NEW_DIR\n", 2;

  // In a model that was trained without it.
  auto model = io::load_for_inference<float>(argv[1]);
  model.encoder.policies = {merge::before_block(1, MergeAlikeNeighbours{.least = 0.8})};
  TokenBatch text;
  text.push_back(data::ByteTokenizer().encode("A merganser dives for fish."));
  const auto encoded = model.encode(text);
  std::cout << text.ids.size() << " tokens, " << encoded.hidden.total() << " rows\n";

  // By a name, with a setting, and in the curve: put into the trained twin, and trained with a gate behind it.
  const std::vector<runs::NamedPolicy> known = {runs::named_policy(
      "alike", "joins nearly equal neighbours", MergeAlikeNeighbours{}, {.blocks = {1}},
      [](auto& policy) { return runs::OptionTable{runs::number_option("least", "cosine", {}, policy.least, -1, 1)}; })};
  runs::CurveOptions curve;
  curve.named_policies = [&](const std::string& name, const auto& stack) {
    return runs::named_placements(name, stack, known);
  };
  curve.policies = {"random"};
  curve.named = {"alike:least=0.8", "learned+alike:block=0,least=0.8"};
  curve.targets = {0, 0.3};
  curve.train.data.task = "copy";
  curve.budget.steps = 120;
  curve.train.model.width = 32;
  curve.train.model.encoder_blocks = 3;
  curve.out = argv[2];
  const runs::Curve made = runs::make_curve(curve, std::cerr);
  for (const runs::RunRow& row : made.rows)
    std::cout << row.policy << ": " << 100 * row.hard.deletion_rate << " % gone, " << row.hard.bits_per_byte
              << " bits a byte\n";
  return made.exit_code;
}
