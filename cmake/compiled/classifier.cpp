// The classifier, for merganser::compiled.
#include <merganser/models/sequence_classifier.hpp>

template class merganser::models::SequenceClassifier<float>;
