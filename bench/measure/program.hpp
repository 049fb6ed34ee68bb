// What every measuring program defines in place of main, so that it can be compiled for several instruction sets.
#pragma once

extern "C" int bench_program(int argc, char** argv);
