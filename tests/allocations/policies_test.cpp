#include <merganser/merge/policies/adaptive_sampling.hpp>
#include <merganser/merge/policies/attention_top_k.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/boundary_pooling.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policies/density_peaks.hpp>
#include <merganser/merge/policies/diffrate.hpp>
#include <merganser/merge/policies/drop_rules.hpp>
#include <merganser/merge/policies/funnel_pooling.hpp>
#include <merganser/merge/policies/integrate_and_fire.hpp>
#include <merganser/merge/policies/local_clusters.hpp>
#include <merganser/merge/policies/local_merging.hpp>
#include <merganser/merge/policies/mctf.hpp>
#include <merganser/merge/policies/pitome.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>
#include <merganser/merge/policies/tofu.hpp>
#include <merganser/merge/policies/tome.hpp>
#include <merganser/merge/policies/ward_pooling.hpp>
#include <merganser/merge/policies/zero_tprune.hpp>
#include <merganser/merge/policy.hpp>

#include "allocations/counter.hpp"
#include "support/catch.hpp"
#include "support/policy_batch.hpp"

namespace policies_test {

using namespace merganser;
using namespace merganser::testing;

/// Inference takes memory in the first call and in no other, training with one cache while that fills: in its second
/// call the cache of the first is still there.
/// @param calls of inference that take memory
void require_none_after_the_first(const char* name, const merge::Policy<float>& policy, int calls = 1) {
  CAPTURE(name);
  const PolicyBatch<float> batch = PolicyBatch<float>({40, 0, 1, 17, 90}, 8).age();
  const RowAttention<float> attention(batch);
  const merge::DeletionOptions options;
  Rng rng(1);
  merge::PolicyContext<float> context = batch.context(options, &rng);
  context.attention = &attention;
  merge::Policy<float>::Cache cache;
  for (const bool trains : {false, true}) {
    CAPTURE(trains);
    const auto run = [&] {
      rng = Rng(1);
      if (trains)
        policy.forward(batch.x, context, rng, cache);
      else
        policy.forward(batch.x, context);
    };
    MemoryReserve::clear();
    CHECK(allocations_in(run) > 0);
    for (int warm = 1; warm < (trains ? 3 : calls); ++warm) run();
    for (int repeat = 0; repeat < 3; ++repeat) CHECK(allocations_in(run) == 0);
  }
}

template <class Layer>
Layer started(Layer layer) {
  Rng rng(1);
  layer.initialize(1, rng);
  return layer;
}

TEST_CASE("a policy by itself allocates nothing after the first call", "[allocations]") {
  if (!memory_is_reserved) return;
  using namespace merge;
  const Budget half{.rate = 0.5};
  require_none_after_the_first("AdaptiveSampling", AdaptiveSampling{half});
  require_none_after_the_first("AttentionTopK", AttentionTopK{half});
  require_none_after_the_first("DensityPeaks", DensityPeaks{.budget = half});
  require_none_after_the_first("DiffRate", DiffRate{.budget = half});
  require_none_after_the_first("TailDrop", TailDrop{half});
  require_none_after_the_first("StopIds", StopIds{.ids = {3, 0, 5}});
  require_none_after_the_first("FunnelPooling", FunnelPooling{});
  require_none_after_the_first("LocalClusters", LocalClusters{.budget = half});
  require_none_after_the_first("LocalMerging", LocalMerging{.budget = half});
  require_none_after_the_first("MCTF", MCTF{.budget = half});
  require_none_after_the_first("PiToMe", PiToMe{.budget = half});
  require_none_after_the_first("ToFu", ToFu{.budget = half});
  require_none_after_the_first("ToMe", ToMe{.budget = half});
  require_none_after_the_first("WardPooling", WardPooling{});
  require_none_after_the_first("ZeroTPrune", ZeroTPrune{.budget = half}, 2);  // the first leaves blocks of other sizes
  require_none_after_the_first("RandomGate", RandomGate{0.4, -30.0});
  require_none_after_the_first("DeleteGate", started(DeleteGate<float>({.width = 8})));
  require_none_after_the_first("BoundaryPooling", started(BoundaryPooling<float>({.width = 8, .hidden = 8})));
  require_none_after_the_first("StridedPooling", started(StridedPooling<float>({.width = 8})));
  require_none_after_the_first("IntegrateAndFire", started(IntegrateAndFire<float>({.width = 8})));
}

}  // namespace policies_test
