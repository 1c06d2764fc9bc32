/// AVX-512 without VNNI: `vpmaddwd` and an addition in the place of `vpdpwssd`.

#include "bounds.h"
#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace certvq {
namespace {

#include "avx512-inl.h"

struct Ops : Avx512 {
  static constexpr int kTile = 4;  // 16 sums, 4 vectors of codes, one of a row, one product
  static constexpr int kSmallTile = 4;
  static constexpr int kByteLimit = 63;  // 2 * 255 * 63 fits a 16-bit sum of `vpmaddubsw`
  static constexpr std::int64_t kByteChunk = 16;
  static constexpr double kByteSaved = 0.38;  // see ByteIsa
  static constexpr double kByteBookkeeping = 2.3;
  static void accumulate(Ints &sums, Ints row, Ints codes) {
    sums += reinterpret_cast<Ints>(_mm512_madd_epi16(reinterpret_cast<__m512i>(row),
                                                     reinterpret_cast<__m512i>(codes)));
  }
  static void multiply_bytes(Ints &sums, Ints row, Ints codes) {
    sums = reinterpret_cast<Ints>(_mm512_add_epi16(
        reinterpret_cast<__m512i>(sums),
        _mm512_maddubs_epi16(reinterpret_cast<__m512i>(codes), reinterpret_cast<__m512i>(row))));
  }
  static Ints sum_halves(Ints sums) {
    return reinterpret_cast<Ints>(
        _mm512_madd_epi16(reinterpret_cast<__m512i>(sums), _mm512_set1_epi16(1)));
  }
};

#include "body-inl.h"

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("f16c");
}

}  // namespace

CERTVQ_TABLE(kAvx512, "avx512");

}  // namespace certvq
#endif
