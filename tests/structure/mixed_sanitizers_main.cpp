// The unit without the address sanitizer of a program whose other unit has it: they hand each other memory.
#include <cstdio>
#include <utility>

#include "mixed_sanitizers.hpp"

using merganser::Index;
using merganser::Matrix;

int main() {
  bool same = !other_unit_reserves() && merganser::memory_is_reserved;
  for (Index size : {1, 7, 100, 33, 300, 2}) {
    for (int round = 0; round < 3; ++round) {
      Matrix<float> from_other = made_by_other_unit(size, size + 3);  // made there, freed here
      same = same && from_other.sum() == static_cast<float>(size * (size + 3));
      from_other.setOnes(size + 1, size + 4);  // kept or grown here
      same = same && from_other.sum() == static_cast<float>((size + 1) * (size + 4));
      Matrix<float> own = Matrix<float>::Ones(size, size);
      grow_in_other_unit(own, 2 * size);  // made here, freed there
      same = same && own.sum() == static_cast<float>(4 * size * size);
      same = same && sum_in_other_unit(std::move(own)) == static_cast<float>(4 * size * size);
    }
  }
  if (!same) std::puts("a unit with the address sanitizer and one without disagree");
  return same ? 0 : 1;
}
