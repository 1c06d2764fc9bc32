/// AVX2: 6 rows by 16 codes in 12 of the 16 registers.

#include "rivals.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace certvq_checker {
namespace {

struct Ops {
  static constexpr int kTile = 6, kVectors = 2;
  typedef float Floats __attribute__((vector_size(32)));
  static Floats fill(float value) { return _mm256_set1_ps(value); }
  static Floats add_product(Floats sum, Floats a, Floats b) { return _mm256_fmadd_ps(a, b, sum); }
  static Floats greater(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  /// Whether some entry is not less than the limit.
  static bool reaches(Floats v, float limit) {
    return _mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_set1_ps(limit), _CMP_NLT_UQ)) != 0;
  }
};

#include "level-inl.h"

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

extern const Level kAvx2;
const Level kAvx2 = {"avx2", Ops::kTile, supported, weigh, sweep};

}  // namespace certvq_checker
#endif
