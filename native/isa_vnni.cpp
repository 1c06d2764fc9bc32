/// AVX-512 with VNNI: `vpdpwssd` multiplies 32 pairs of 16-bit integers and adds them to 16 sums.

#include "bounds.h"
#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace certvq {
namespace {

#include "avx512-inl.h"

struct Ops : Avx512 {
  static constexpr int kTile = 4;  // 16 sums, 4 vectors of codes and one of a row
  static constexpr int kSmallTile = 4;
  static constexpr int kByteLimit = 127;
  static constexpr std::int64_t kByteChunk = 0;  // `vpdpbusd` sums in 32 bits
  static constexpr double kByteSaved = 0.42;  // see ByteIsa
  static constexpr double kByteBookkeeping = 1.3;
  /// In assembly: GCC 12 copies the destination of the intrinsic to and fro, at half the speed.
  static void accumulate(Ints &sums, Ints row, Ints codes) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(row), "v"(codes));
  }
  static void multiply_bytes(Ints &sums, Ints row, Ints codes) {
    __asm__("vpdpbusd %1, %2, %0" : "+v"(sums) : "v"(row), "v"(codes));
  }
};

#include "body-inl.h"

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("f16c");
}

}  // namespace

CERTVQ_TABLE(kVnni, "avx512_vnni");

}  // namespace certvq
#endif
