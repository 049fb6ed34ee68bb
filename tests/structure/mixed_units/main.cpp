// Calls two units that were compiled with different flags; with an argument only the first.
#include <cmath>
#include <cstdio>

double first();
double second();

int main(int argc, char**) {
  const double a = first(), b = argc > 1 ? a : second();
  std::printf("%.6f %.6f\n", a, b);
  return std::fabs(a - b) < 1e-4 && std::fabs(a) > 1 ? 0 : 1;
}
