/// AVX2 with AVX-VNNI: `vpdpwssd` on 32 bytes, in its VEX encoding (Alder Lake, Zen 5 and later).
///
/// AVX-512 has the same instruction in the EVEX encoding. `tests/evex_vnni.cpp` compiles this body to that
/// one, so that it is tested on processors without AVX-VNNI.

#include "bounds.h"
#include "isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

namespace certvq {
namespace {

#include "avx2-inl.h"

struct Ops : Avx2 {
  static constexpr int kTile = 3;  // 12 sums, 3 vectors of rows and one of codes: all registers
  static constexpr int kSmallTile = 3;
  static constexpr int kByteLimit = 127;
  static constexpr std::int64_t kByteChunk = 0;  // `vpdpbusd` sums in 32 bits
  static constexpr double kByteSaved = 0.42;  // as of AVX-512 with VNNI, see ByteIsa
  static constexpr double kByteBookkeeping = 1.3;
  static void accumulate(Ints &sums, Ints row, Ints codes) {
#if defined(CERTVQ_EVEX_BODY)
    __asm__("%{evex%} vpdpwssd %2, %1, %0" : "+x"(sums) : "x"(row), "x"(codes));
#else
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sums) : "x"(row), "x"(codes));
#endif
  }
  static void multiply_bytes(Ints &sums, Ints row, Ints codes) {
#if defined(CERTVQ_EVEX_BODY)
    __asm__("%{evex%} vpdpbusd %1, %2, %0" : "+x"(sums) : "x"(row), "x"(codes));
#else
    __asm__("%{vex%} vpdpbusd %1, %2, %0" : "+x"(sums) : "x"(row), "x"(codes));
#endif
  }
};

#include "body-inl.h"

/// AVX2 says besides that the operating system keeps the registers.
bool supported() {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c")) {
    return false;
  }
#if defined(CERTVQ_EVEX_BODY)
  return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
#endif
}

}  // namespace

#if defined(CERTVQ_EVEX_BODY)
CERTVQ_TABLE(kEvexVnni, "evex_vnni");
#else
CERTVQ_TABLE(kAvxVnni, "avx_vnni");
#endif

}  // namespace certvq
#endif
