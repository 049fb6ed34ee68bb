// Prints the instruction set of the level in use.
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>

#include "hot.hpp"

int main() {
  try {
    const std::string level = level_in_use();
    const float scores[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    if (std::fabs(sum_of_softmax(scores, 9) - 1) > 1e-6) return 2;
    try {
      fail_with("thrown in a level");
      return 3;
    } catch (const std::exception& error) {
      if (error.what() != std::string("thrown in a level")) return 4;
    }
    std::puts(level.c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
