// Eigen's packets under the names that are used here: nothing else looks into what Eigen keeps for itself.
#pragma once

#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// Eigen's functions and traits of packets, each lane by itself unless its name says otherwise. A number alone is a
/// packet of one lane.
namespace simd {

using Eigen::internal::packet_traits;    // the widest packet of a scalar type
using Eigen::internal::unpacket_traits;  // scalar type, lanes and integers of a packet

using Eigen::internal::ploadu;   // from memory, wherever it lies
using Eigen::internal::pset1;    // the same value in every lane
using Eigen::internal::pstoreu;  // to memory, wherever it lies

using Eigen::internal::padd;
using Eigen::internal::pdiv;
using Eigen::internal::pldexp;  // a 2^b
using Eigen::internal::pmadd;   // a b + c, rounded once or twice: `multiply_add` knows
using Eigen::internal::pmax;
using Eigen::internal::pmin;
using Eigen::internal::pmul;
using Eigen::internal::pnegate;
using Eigen::internal::psqrt;  // with some instruction sets not the nearest number
using Eigen::internal::psub;

using Eigen::internal::pand;
using Eigen::internal::pcmp_lt;  // all bits or none
using Eigen::internal::plogical_shift_left;
using Eigen::internal::plogical_shift_right;
using Eigen::internal::por;
using Eigen::internal::preinterpret;  // the same bits as another type of packet
using Eigen::internal::pselect;       // where all bits are set the second, else the third

using Eigen::internal::PacketBlock;  // packets side by side: a small matrix
using Eigen::internal::predux;       // the sum of all lanes
using Eigen::internal::predux_max;   // the largest of all lanes
using Eigen::internal::ptranspose;   // of a PacketBlock, in place

/// Whether there is an instruction for pmadd: then it rounds once.
#if defined(EIGEN_HAS_SINGLE_INSTRUCTION_MADD)
inline constexpr bool pmadd_fuses = true;
#else
inline constexpr bool pmadd_fuses = false;
#endif

/// Packets that the processor's registers hold.
inline constexpr int registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS;

}  // namespace simd

/// The widest packet of this build for a scalar type (size 1 where there are none).
template <Real Scalar>
struct PacketOf {
  using Type = typename simd::packet_traits<Scalar>::type;
  static constexpr int size = simd::unpacket_traits<Type>::size;
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif

/// A packet with the same value in every lane.
template <Real Scalar>
auto broadcast(Scalar value) {
  return simd::pset1<typename PacketOf<Scalar>::Type>(value);
}

/// The value, a packet or a number, of which the compiler knows nothing.
template <class Value>
Value opaque(Value value) {
  EIGEN_OPTIMIZATION_BARRIER(value)
  return value;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace merganser::kernels
