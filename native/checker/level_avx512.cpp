/// AVX-512: 6 rows by 64 codes in 24 of the 32 registers.

#include "rivals.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace certvq_checker {
namespace {

struct Ops {
  static constexpr int kTile = 6, kVectors = 4;
  typedef float Floats __attribute__((vector_size(64)));
  static Floats fill(float value) { return _mm512_set1_ps(value); }
  static Floats add_product(Floats sum, Floats a, Floats b) { return _mm512_fmadd_ps(a, b, sum); }
  static Floats greater(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  /// Whether some entry is not less than the limit.
  static bool reaches(Floats v, float limit) {
    return _mm512_cmp_ps_mask(v, _mm512_set1_ps(limit), _CMP_NLT_UQ) != 0;
  }
};

#include "level-inl.h"

bool supported() { return __builtin_cpu_supports("avx512f"); }

}  // namespace

extern const Level kAvx512;
const Level kAvx512 = {"avx512", Ops::kTile, supported, weigh, sweep};

}  // namespace certvq_checker
#endif
