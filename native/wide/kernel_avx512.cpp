/// AVX-512.

#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

namespace certvq_wide {
namespace {

struct Ops {
  static constexpr int kLanes = 8, kRows = 4, kVectors = 2;
  template <class V>
  static V fused(V a, V b, V c) {
    return _mm512_fmadd_pd(a, b, c);
  }
  template <class V>
  static V root(V a) {
    return _mm512_sqrt_pd(a);
  }
  template <class V, class I>
  static V gather(const double *table, I at) {
    return _mm512_i64gather_pd(reinterpret_cast<__m512i>(at), table, 8);
  }
};

#include "kernel-inl.h"

}  // namespace

extern const Kernel kAvx512;
const Kernel kAvx512{"avx512", unary, binary, sums, product};

}  // namespace certvq_wide
#endif
