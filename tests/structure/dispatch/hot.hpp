// What crosses the line between the program and its units: functions with C linkage, plain types.
#pragma once

extern "C" {
double sum_of_softmax(const float* scores, int count) noexcept;
const char* level_in_use();
void fail_with(const char* message);
}
