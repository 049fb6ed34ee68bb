// Shared by the units of a level; nobody else sees it.
#pragma once

#include <merganser/core/types.hpp>

double softmax_sum(const merganser::RowVector<float>& scores);
