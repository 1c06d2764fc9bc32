/// AVX2: `vpmaddwd` on half the lanes of AVX-512, with 16 registers.

#include "bounds.h"
#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace certvq {
namespace {

#include "avx2-inl.h"

struct Ops : Avx2 {
  static constexpr int kTile = 2;  // 8 sums, 4 vectors of codes, one of a row, one product
  static constexpr int kSmallTile = 2;
  static constexpr int kByteLimit = 63;  // 2 * 255 * 63 fits a 16-bit sum of `vpmaddubsw`
  static constexpr std::int64_t kByteChunk = 16;
  static constexpr double kByteSaved = 0.34;  // see ByteIsa
  static constexpr double kByteBookkeeping = 2.8;
  static void accumulate(Ints &sums, Ints row, Ints codes) {
    sums += reinterpret_cast<Ints>(_mm256_madd_epi16(reinterpret_cast<__m256i>(row),
                                                     reinterpret_cast<__m256i>(codes)));
  }
  static void multiply_bytes(Ints &sums, Ints row, Ints codes) {
    sums = reinterpret_cast<Ints>(_mm256_add_epi16(
        reinterpret_cast<__m256i>(sums),
        _mm256_maddubs_epi16(reinterpret_cast<__m256i>(codes), reinterpret_cast<__m256i>(row))));
  }
  static Ints sum_halves(Ints sums) {
    return reinterpret_cast<Ints>(
        _mm256_madd_epi16(reinterpret_cast<__m256i>(sums), _mm256_set1_epi16(1)));
  }
};

#include "body-inl.h"

bool supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

}  // namespace

CERTVQ_TABLE(kAvx2, "avx2");

}  // namespace certvq
#endif
