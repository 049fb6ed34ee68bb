// The main of every measuring program: calls what was compiled for this processor (cmake/Dispatch.cmake).
#include <cstdio>
#include <exception>

#include "program.hpp"

int main(int argc, char** argv) {
  try {
    return bench_program(argc, argv);
  } catch (const std::exception& error) {  // no such level
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
