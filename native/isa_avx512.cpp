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
  static void accumulate(Ints &sums, Ints row, Ints codes) {
    sums += reinterpret_cast<Ints>(_mm512_madd_epi16(reinterpret_cast<__m512i>(row),
                                                     reinterpret_cast<__m512i>(codes)));
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
