/// AVX2 with fused multiplication and addition.

#include "closer.h"

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
  template <class Floats>
  static Floats greater(Floats a, Floats b) {  // b if one is no number
    return reinterpret_cast<Floats>(_mm256_max_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
  }
  template <class Floats>
  static Floats less(Floats a, Floats b) {  // b if one is no number
    return reinterpret_cast<Floats>(_mm256_min_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
  }
  template <class Ints>
  static std::uint64_t mask(Ints lanes) {  // each of them 0 or -1
    return static_cast<std::uint64_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(lanes)));
  }
};

#include "columns-inl.h"
#include "direct-inl.h"
#include "closer-inl.h"

}  // namespace

extern const DirectIsa kDirectAvx2;
const DirectIsa kDirectAvx2 = {compare, closer, columns};

}  // namespace certvq
#endif
