/// Any processor, as long as the C library multiplies and adds with one rounding.

#include <cmath>
#include <cstring>

#include "kernel.h"

namespace certvq_wide {
namespace {

struct Ops {
  static constexpr int kLanes = 2, kRows = 2, kVectors = 2;
  template <class V>
  static V fused(V a, V b, V c) {
    return V{std::fma(a[0], b[0], c[0]), std::fma(a[1], b[1], c[1])};
  }
  template <class V>
  static V root(V a) {
    return V{std::sqrt(a[0]), std::sqrt(a[1])};
  }
  template <class V, class I>
  static V gather(const double *table, I at) {
    return V{table[at[0]], table[at[1]]};
  }
};

#include "kernel-inl.h"

}  // namespace

extern const Kernel kPortable;
const Kernel kPortable{"portable", unary, binary, sums, product};

}  // namespace certvq_wide
