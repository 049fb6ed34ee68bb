// A unit of a user's program: a gate and hard deletion alone.
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/delete_gate.hpp>
#include <merganser/merge/hard_deletion.hpp>

using namespace merganser;

RaggedBatch<float> shortened(const merge::DeleteGate<float>& gate, const merge::DeleteGate<float>::Config& config,
                             const RaggedBatch<float>& batch) {
  const merge::GateValues<float> said = gate.forward(batch.values);
  return merge::compact(batch,
                        merge::deletion_plans<float>(said.values, batch.offsets, gate.default_threshold(config), {}));
}
