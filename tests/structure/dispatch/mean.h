// Declarations of an entry point that C reads, too.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif
double mean_of(const float* numbers, int count);
#ifdef __cplusplus
}
#endif
