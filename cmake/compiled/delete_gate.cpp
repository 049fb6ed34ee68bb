// The delete gate as a policy, for merganser::compiled.
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policy.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

template class DeleteGate<float>;
template class GatedDeletion<float, DeleteGate<float>>;
template struct Policy<float>::RunningLayer<GatedDeletion<float, DeleteGate<float>>>;
template struct Policy<float>::TrainableLayer<GatedDeletion<float, DeleteGate<float>>>;

}  // namespace merganser::merge
