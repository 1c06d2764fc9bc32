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
  static void accumulate(Ints &sums, Ints row, Ints codes) {
    sums += reinterpret_cast<Ints>(_mm256_madd_epi16(reinterpret_cast<__m256i>(row),
                                                     reinterpret_cast<__m256i>(codes)));
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
