// The program behind main, compiled for several instruction sets: plain types alone cross this line.
#pragma once

extern "C" int byte_demo_program(int argc, char** argv);
