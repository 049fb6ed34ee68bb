// What two units, one of which has the address sanitizer, do for each other.
#pragma once

#include <merganser/core/types.hpp>

bool other_unit_reserves();
merganser::Matrix<float> made_by_other_unit(merganser::Index rows, merganser::Index cols);
void grow_in_other_unit(merganser::Matrix<float>& matrix, merganser::Index size);
float sum_in_other_unit(merganser::Matrix<float> matrix);
