// Which instructions a unit may use, and which of them the processor has that runs the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include <merganser/core/instruction_set.hpp>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace merganser::inline MERGANSER_ISA {

/// A set of extensions of an instruction set: bit i is detail::extensions[i]. The same numbers in every unit.
using Instructions = std::uint64_t;

namespace detail {

/// An extension that compilers use by themselves, and where the processor says whether it has it.
struct Extension {
  std::string_view name;  ///< as in /proc/cpuinfo
  bool used;              ///< by the compiler of this unit
  int word, bit;          ///< of what the processor says
  int state = 0;          ///< in which of `State` the system has to save its registers
};

/// Whether a macro of the compiler is 1, from its text: the name itself where there is none.
constexpr bool is_one(std::string_view macro) { return macro == "1"; }

#if defined(__x86_64__) && defined(__GNUC__)

enum Word { leaf_1_ecx, leaf_7_ebx, leaf_7_ecx, leaf_7_edx, leaf_7_1_eax, extended_ecx, words };
enum State { general, ymm, zmm, tiles };

inline constexpr Extension extensions[] = {
    {"sse3", is_one(MERGANSER_ISA_TEXT(__SSE3__)), leaf_1_ecx, 0},
    {"ssse3", is_one(MERGANSER_ISA_TEXT(__SSSE3__)), leaf_1_ecx, 9},
    {"sse4_1", is_one(MERGANSER_ISA_TEXT(__SSE4_1__)), leaf_1_ecx, 19},
    {"sse4_2", is_one(MERGANSER_ISA_TEXT(__SSE4_2__)), leaf_1_ecx, 20},
    {"popcnt", is_one(MERGANSER_ISA_TEXT(__POPCNT__)), leaf_1_ecx, 23},
    {"movbe", is_one(MERGANSER_ISA_TEXT(__MOVBE__)), leaf_1_ecx, 22},
    {"abm", is_one(MERGANSER_ISA_TEXT(__LZCNT__)), extended_ecx, 5},
    {"bmi1", is_one(MERGANSER_ISA_TEXT(__BMI__)), leaf_7_ebx, 3},
    {"bmi2", is_one(MERGANSER_ISA_TEXT(__BMI2__)), leaf_7_ebx, 8},
    {"gfni", is_one(MERGANSER_ISA_TEXT(__GFNI__)), leaf_7_ecx, 8},
    {"avx", is_one(MERGANSER_ISA_TEXT(__AVX__)), leaf_1_ecx, 28, ymm},
    {"f16c", is_one(MERGANSER_ISA_TEXT(__F16C__)), leaf_1_ecx, 29, ymm},
    {"fma", is_one(MERGANSER_ISA_TEXT(__FMA__)), leaf_1_ecx, 12, ymm},
    {"avx2", is_one(MERGANSER_ISA_TEXT(__AVX2__)), leaf_7_ebx, 5, ymm},
    {"avx_vnni", is_one(MERGANSER_ISA_TEXT(__AVXVNNI__)), leaf_7_1_eax, 4, ymm},
    {"avx512f", is_one(MERGANSER_ISA_TEXT(__AVX512F__)), leaf_7_ebx, 16, zmm},
    {"avx512dq", is_one(MERGANSER_ISA_TEXT(__AVX512DQ__)), leaf_7_ebx, 17, zmm},
    {"avx512ifma", is_one(MERGANSER_ISA_TEXT(__AVX512IFMA__)), leaf_7_ebx, 21, zmm},
    {"avx512cd", is_one(MERGANSER_ISA_TEXT(__AVX512CD__)), leaf_7_ebx, 28, zmm},
    {"avx512bw", is_one(MERGANSER_ISA_TEXT(__AVX512BW__)), leaf_7_ebx, 30, zmm},
    {"avx512vl", is_one(MERGANSER_ISA_TEXT(__AVX512VL__)), leaf_7_ebx, 31, zmm},
    {"avx512vbmi", is_one(MERGANSER_ISA_TEXT(__AVX512VBMI__)), leaf_7_ecx, 1, zmm},
    {"avx512_vbmi2", is_one(MERGANSER_ISA_TEXT(__AVX512VBMI2__)), leaf_7_ecx, 6, zmm},
    {"avx512_vnni", is_one(MERGANSER_ISA_TEXT(__AVX512VNNI__)), leaf_7_ecx, 11, zmm},
    {"avx512_bitalg", is_one(MERGANSER_ISA_TEXT(__AVX512BITALG__)), leaf_7_ecx, 12, zmm},
    {"avx512_vpopcntdq", is_one(MERGANSER_ISA_TEXT(__AVX512VPOPCNTDQ__)), leaf_7_ecx, 14, zmm},
    {"avx512_bf16", is_one(MERGANSER_ISA_TEXT(__AVX512BF16__)), leaf_7_1_eax, 5, zmm},
    {"avx512_fp16", is_one(MERGANSER_ISA_TEXT(__AVX512FP16__)), leaf_7_edx, 23, zmm},
    {"amx_tile", is_one(MERGANSER_ISA_TEXT(__AMX_TILE__)), leaf_7_edx, 24, tiles},
    {"amx_int8", is_one(MERGANSER_ISA_TEXT(__AMX_INT8__)), leaf_7_edx, 25, tiles},
    {"amx_bf16", is_one(MERGANSER_ISA_TEXT(__AMX_BF16__)), leaf_7_edx, 22, tiles},
};

struct ProcessorWords {
  std::uint32_t word[words] = {};
  bool saved[4] = {true, false, false, false};  ///< by the system, for each State

  ProcessorWords() {
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) != 0) word[leaf_1_ecx] = c;
    const bool system_says = (c >> 27 & 1) != 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
      word[leaf_7_ebx] = b, word[leaf_7_ecx] = c, word[leaf_7_edx] = d;
      if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) word[leaf_7_1_eax] = a;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d) != 0) word[extended_ecx] = c;
    if (!system_says) return;
    std::uint32_t enabled = 0, upper = 0;
    asm volatile("xgetbv" : "=a"(enabled), "=d"(upper) : "c"(0));
    saved[ymm] = (enabled & 0x6) == 0x6;
    saved[zmm] = (enabled & 0xE6) == 0xE6;
    saved[tiles] = (enabled & 0x60000) == 0x60000;
  }
};

#elif defined(__aarch64__) && defined(__linux__)

enum Word { hwcap, hwcap_2, words };

inline constexpr Extension extensions[] = {
    {"atomics", is_one(MERGANSER_ISA_TEXT(__ARM_FEATURE_ATOMICS)), hwcap, 8},
    {"asimdhp", is_one(MERGANSER_ISA_TEXT(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)), hwcap, 10},
    {"asimddp", is_one(MERGANSER_ISA_TEXT(__ARM_FEATURE_DOTPROD)), hwcap, 20},
    {"sve", is_one(MERGANSER_ISA_TEXT(__ARM_FEATURE_SVE)), hwcap, 22},
    {"sve2", is_one(MERGANSER_ISA_TEXT(__ARM_FEATURE_SVE2)), hwcap_2, 1},
    {"i8mm", is_one(MERGANSER_ISA_TEXT(__ARM_FEATURE_MATMUL_INT8)), hwcap_2, 13},
    {"bf16", is_one(MERGANSER_ISA_TEXT(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)), hwcap_2, 14},
};

struct ProcessorWords {
  unsigned long word[words] = {getauxval(AT_HWCAP), getauxval(AT_HWCAP2)};
  bool saved[1] = {true};
};

#else

inline constexpr Extension extensions[] = {{"", false, 0, 0}};  // nothing is known of such a processor

struct ProcessorWords {
  std::uint32_t word[1] = {};
  bool saved[1] = {true};
};

#endif

}  // namespace detail

/// What the compiler of this unit may use beyond what every processor of its kind has.
inline constexpr Instructions needed_instructions = [] {
  Instructions needed = 0;
  for (std::size_t i = 0; i < std::size(detail::extensions); ++i)
    if (detail::extensions[i].used) needed |= Instructions{1} << i;
  return needed;
}();

/// What the processor has and the system lets programs use.
inline Instructions processor_instructions() {
  const detail::ProcessorWords processor;
  Instructions found = 0;
  for (std::size_t i = 0; i < std::size(detail::extensions); ++i) {
    const detail::Extension& extension = detail::extensions[i];
    if (processor.saved[extension.state] && (processor.word[extension.word] >> extension.bit & 1) != 0)
      found |= Instructions{1} << i;
  }
  return found;
}

/// The names of the extensions in a set, with blanks between: "avx fma".
inline std::string extension_names(Instructions set) {
  std::string names;
  for (std::size_t i = 0; i < std::size(detail::extensions); ++i) {
    if ((set >> i & 1) == 0) continue;
    if (!names.empty()) names += ' ';
    names += detail::extensions[i].name;
  }
  return names;
}

}  // namespace merganser
