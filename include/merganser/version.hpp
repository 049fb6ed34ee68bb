// The version of the library: the only place where it is written.
#pragma once

#define MERGANSER_VERSION_MAJOR 0
#define MERGANSER_VERSION_MINOR 1
#define MERGANSER_VERSION_PATCH 0
#define MERGANSER_VERSION "0.1.0"
