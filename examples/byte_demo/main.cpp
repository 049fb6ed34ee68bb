// byte_demo: calls the program as it was compiled for this processor (cmake/Dispatch.cmake).
#include <cstdio>
#include <exception>

#include "byte_demo.hpp"

int main(int argc, char** argv) {
  try {
    return byte_demo_program(argc, argv);
  } catch (const std::exception& error) {  // no such level
    std::fprintf(stderr, "byte_demo: %s\n", error.what());
    return 1;
  }
}
