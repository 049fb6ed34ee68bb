// A unit of a user's program: a gate and hard deletion alone.
#include <merganser/merge/compaction.hpp>
#if __has_include(<merganser/merge/policies/delete_gate.hpp>)
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/selection.hpp>
#else  // a checkout from before, to compare with
#include <merganser/merge/delete_gate.hpp>
#include <merganser/merge/hard_deletion.hpp>
#endif

using namespace merganser;

RaggedBatch<float> shortened(const merge::DeleteGate<float>& gate, double threshold, const RaggedBatch<float>& batch) {
  const merge::GateValues<float> said = gate.forward({batch.values});
  return merge::compact(batch, merge::deletion_plans<float>(said.values, batch.offsets, threshold, {}));
}
