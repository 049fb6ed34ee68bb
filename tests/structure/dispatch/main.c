/* A program in C over a library all of whose code is compiled for several instruction sets. */
#include "mean.h"

int main(void) {
  const float numbers[] = {1, 2, 6};
  return mean_of(numbers, 3) == 3 ? 0 : 1;
}
