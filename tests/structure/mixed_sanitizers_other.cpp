// The unit with the address sanitizer.
#include "mixed_sanitizers.hpp"

using namespace merganser;

bool other_unit_reserves() { return memory_is_reserved; }
Matrix<float> made_by_other_unit(Index rows, Index cols) { return Matrix<float>::Ones(rows, cols); }
void grow_in_other_unit(Matrix<float>& matrix, Index size) { matrix.setOnes(size, size); }
float sum_in_other_unit(Matrix<float> matrix) { return matrix.sum(); }
