// Uses a matrix that another unit makes.
#include <merganser/core/types.hpp>

merganser::Matrix<float> make_matrix();

int main() { return make_matrix().sum() == 15.0F ? 0 : 1; }
