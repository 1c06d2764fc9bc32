/// AVX2 with fused multiplication and addition.

#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

namespace certvq_wide {
namespace {

struct Ops {
  static constexpr int kLanes = 4, kRows = 2, kVectors = 2;
  template <class V>
  static V fused(V a, V b, V c) {
    return _mm256_fmadd_pd(a, b, c);
  }
  template <class V>
  static V root(V a) {
    return _mm256_sqrt_pd(a);
  }
  template <class V, class I>
  static V gather(const double *table, I at) {
    return _mm256_i64gather_pd(table, reinterpret_cast<__m256i>(at), 8);
  }
};

#include "kernel-inl.h"

}  // namespace

extern const Kernel kAvx2;
const Kernel kAvx2{"avx2", unary, binary, sums, product};

}  // namespace certvq_wide
#endif
