// The instruction set that a unit is compiled for, in the name of the library's namespace; and what no unit may lack.
#pragma once

// One sentence in place of thousands of lines: an #include that fails ends the compilation.
#if !defined(_MSVC_LANG) && __cplusplus <= 201703L || defined(_MSVC_LANG) && _MSVC_LANG <= 201703L
#error "merganser needs C++20: compile with -std=c++20 or newer"
#include <merganser/needs_c++20>
#elif !defined(__cpp_exceptions)
#error "merganser reports errors by exceptions: compile without -fno-exceptions"
#include <merganser/needs_exceptions>
#elif defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(_M_FP_FAST)
#error "merganser is right under IEEE rules only: compile without -ffast-math and -Ofast (-O3 is as fast)"
#include <merganser/needs_ieee_arithmetic>
#elif defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ == 1 || __FLT_EVAL_METHOD__ == 2)
#error "merganser rounds every float to float: compile with -msse2 -mfpmath=sse, not for the x87 unit"
#include <merganser/needs_float_arithmetic>
#endif

#include <string_view>

// Layouts of types and what functions do hang on the instructions that the compiler may use, so objects compiled for
// different ones must not share a name. The namespace of the library therefore has another one inside of it, inline, so
// that nobody has to write it: MERGANSER_ISA, put together from every macro of the compiler that changes a layout or a
// kernel, as in
//
//   namespace merganser::inline MERGANSER_ISA::nn {
//
// Units that hand each other types of the library and were compiled with different -march do not link; others each use
// code of their own. (A type of the caller's that holds one of the library is not seen.)

// The widest packets there are. Eigen has none where it is told not to vectorise or not to align.
#if defined(EIGEN_DONT_VECTORIZE) || defined(EIGEN_DONT_ALIGN)
#define MERGANSER_ISA_PACKETS scalar
#elif defined(EIGEN_MAX_ALIGN_BYTES) && EIGEN_MAX_ALIGN_BYTES == 0
#define MERGANSER_ISA_PACKETS scalar
#elif defined(__AVX512DQ__)
#define MERGANSER_ISA_PACKETS x86_avx512dq
#elif defined(__AVX512F__)
#define MERGANSER_ISA_PACKETS x86_avx512f
#elif defined(__AVX2__)
#define MERGANSER_ISA_PACKETS x86_avx2
#elif defined(__AVX__)
#define MERGANSER_ISA_PACKETS x86_avx
#elif defined(__SSE4_2__)
#define MERGANSER_ISA_PACKETS x86_sse4_2
#elif defined(__SSE4_1__)
#define MERGANSER_ISA_PACKETS x86_sse4_1
#elif defined(__SSSE3__)
#define MERGANSER_ISA_PACKETS x86_ssse3
#elif defined(__SSE3__)
#define MERGANSER_ISA_PACKETS x86_sse3
#elif defined(__SSE2__) || defined(_M_X64)
#define MERGANSER_ISA_PACKETS x86_sse2
#elif defined(__ARM_FEATURE_SVE_BITS) && __ARM_FEATURE_SVE_BITS + 0 == 128
#define MERGANSER_ISA_PACKETS arm_sve128
#elif defined(__ARM_FEATURE_SVE_BITS) && __ARM_FEATURE_SVE_BITS + 0 == 256
#define MERGANSER_ISA_PACKETS arm_sve256
#elif defined(__ARM_FEATURE_SVE_BITS) && __ARM_FEATURE_SVE_BITS + 0 == 512
#define MERGANSER_ISA_PACKETS arm_sve512
#elif defined(__ARM_FEATURE_SVE_BITS) && __ARM_FEATURE_SVE_BITS + 0 > 0
#define MERGANSER_ISA_PACKETS arm_sve
#elif defined(__ARM_NEON) || defined(__ARM_NEON__) || defined(_M_ARM64)
#define MERGANSER_ISA_PACKETS arm_neon
#elif defined(__VSX__)
#define MERGANSER_ISA_PACKETS power_vsx
#elif defined(__ALTIVEC__)
#define MERGANSER_ISA_PACKETS power_altivec
#elif defined(__s390x__) && defined(__VEC__) && defined(__ARCH__) && __ARCH__ >= 12
#define MERGANSER_ISA_PACKETS z_vector_floats
#elif defined(__s390x__) && defined(__VEC__)
#define MERGANSER_ISA_PACKETS z_vector
#elif defined(__mips_msa)
#define MERGANSER_ISA_PACKETS mips_msa
#elif defined(__loongarch_sx)
#define MERGANSER_ISA_PACKETS loongarch_lsx
#elif defined(__riscv_v_fixed_vlen)
#define MERGANSER_ISA_PACKETS riscv_rvv
#else
#define MERGANSER_ISA_PACKETS scalar
#endif

// One rounding for a product and a sum.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define MERGANSER_ISA_FMA _fma
#else
#define MERGANSER_ISA_FMA
#endif

// Numbers of 16 and 8 bits.
#if defined(__F16C__)
#define MERGANSER_ISA_F16C _f16c
#else
#define MERGANSER_ISA_F16C
#endif
#if defined(__AVX512FP16__) || defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#define MERGANSER_ISA_HALF _fp16
#else
#define MERGANSER_ISA_HALF
#endif
#if defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) || defined(__ARM_FEATURE_BF16)
#define MERGANSER_ISA_BFLOAT _bf16
#else
#define MERGANSER_ISA_BFLOAT
#endif
#if defined(__AVX512VNNI__)
#define MERGANSER_ISA_BYTES _vnni
#elif defined(__AVXVNNI__)
#define MERGANSER_ISA_BYTES _avxvnni
#elif defined(__ARM_FEATURE_MATMUL_INT8)
#define MERGANSER_ISA_BYTES _i8mm
#elif defined(__ARM_FEATURE_DOTPROD)
#define MERGANSER_ISA_BYTES _dotprod
#else
#define MERGANSER_ISA_BYTES
#endif

// Standard containers of another layout.
#if defined(_GLIBCXX_DEBUG)
#define MERGANSER_ISA_CONTAINERS _checked_containers
#elif defined(_GLIBCXX_USE_CXX11_ABI) && !_GLIBCXX_USE_CXX11_ABI
#define MERGANSER_ISA_CONTAINERS _old_strings
#else
#define MERGANSER_ISA_CONTAINERS
#endif

// Loops that run by OpenMP unless told otherwise.
#if defined(_OPENMP)
#define MERGANSER_ISA_LOOPS _openmp
#else
#define MERGANSER_ISA_LOOPS
#endif

#define MERGANSER_ISA_JOIN(a, b, c, d, e, f, g, h) a##b##c##d##e##f##g##h
#define MERGANSER_ISA_JOIN_VALUES(a, b, c, d, e, f, g, h) MERGANSER_ISA_JOIN(a, b, c, d, e, f, g, h)
#define MERGANSER_ISA                                                                                         \
  MERGANSER_ISA_JOIN_VALUES(MERGANSER_ISA_PACKETS, MERGANSER_ISA_FMA, MERGANSER_ISA_F16C, MERGANSER_ISA_HALF, \
                            MERGANSER_ISA_BFLOAT, MERGANSER_ISA_BYTES, MERGANSER_ISA_CONTAINERS, MERGANSER_ISA_LOOPS)
#define MERGANSER_ISA_QUOTE(name) #name
#define MERGANSER_ISA_TEXT(name) MERGANSER_ISA_QUOTE(name)

// 1 where the usual instantiations are compiled elsewhere, so that a unit only declares them: by the target
// merganser::compiled, whose header defines MERGANSER_COMPILED_FOR_<namespace> as 0,1 for the one that it has, or, where
// a program defines MERGANSER_COMPILED as 1, by a unit of its own. A level of a program for many processors is linked
// alone and cannot look for anything in a library.
#if !defined(MERGANSER_COMPILED)
#if defined(MERGANSER_COMPILED_HEADER) && !defined(MERGANSER_LINKED_ALONE)
#include MERGANSER_COMPILED_HEADER
#endif
#define MERGANSER_COMPILED_SECOND(first, second, ...) second
#define MERGANSER_COMPILED_ANSWER(...) MERGANSER_COMPILED_SECOND(__VA_ARGS__)
#define MERGANSER_COMPILED_JOIN(name) MERGANSER_COMPILED_ANSWER(MERGANSER_COMPILED_FOR_##name, 0, 0)
#define MERGANSER_COMPILED_VALUE(name) MERGANSER_COMPILED_JOIN(name)
#define MERGANSER_COMPILED MERGANSER_COMPILED_VALUE(MERGANSER_ISA)
#endif

#if defined(__GNUC__)
// Also into the names of functions that only return a type of the library, and of variables of one.
namespace merganser {
inline namespace MERGANSER_ISA __attribute__((__abi_tag__)) {}
}  // namespace merganser
#endif

namespace merganser::inline MERGANSER_ISA {

/// The instruction set that this unit was compiled for, as it stands in the name of every symbol of the library:
/// "x86_avx2_fma_f16c". It says what the compiler was allowed to use, not what the processor can.
inline constexpr std::string_view instruction_set = MERGANSER_ISA_TEXT(MERGANSER_ISA);

}  // namespace merganser::inline MERGANSER_ISA
