/// Any processor: what the compiler makes of vectors of four lanes.

#include "direct.h"

namespace certvq {
namespace {

struct Ops {
  static constexpr int kLanes = 4;
  template <class Floats>
  static Floats multiply_add(Floats a, Floats b, Floats c) {
    return a * b + c;
  }
};

#include "direct-inl.h"

}  // namespace

extern const DirectKernel kDirectPortable;
const DirectKernel kDirectPortable = compare;

}  // namespace certvq
