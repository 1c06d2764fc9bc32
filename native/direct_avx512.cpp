/// AVX-512, with or without VNNI.

#include "direct.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace certvq {
namespace {

struct Ops {
  static constexpr int kLanes = 16;
  template <class Floats>
  static Floats broadcast(float value) {  // a sum with 0 would be an instruction
    return reinterpret_cast<Floats>(_mm512_set1_ps(value));
  }
  template <class Floats>
  static Floats multiply_add(Floats a, Floats b, Floats c) {
    return reinterpret_cast<Floats>(_mm512_fmadd_ps(
        reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
  }
};

#include "direct-inl.h"

}  // namespace

extern const DirectKernel kDirectAvx512;
const DirectKernel kDirectAvx512 = compare;

}  // namespace certvq
#endif
