/// AVX2 with fused multiplication and addition.

#include "direct.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace certvq {
namespace {

struct Ops {
  static constexpr int kLanes = 8;
  template <class Floats>
  static Floats broadcast(float value) {  // a sum with 0 would be an instruction
    return reinterpret_cast<Floats>(_mm256_set1_ps(value));
  }
  template <class Floats>
  static Floats multiply_add(Floats a, Floats b, Floats c) {
    return reinterpret_cast<Floats>(_mm256_fmadd_ps(
        reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
  }
};

#include "direct-inl.h"

}  // namespace

extern const DirectKernel kDirectAvx2;
const DirectKernel kDirectAvx2 = compare;

}  // namespace certvq
#endif
