/// Any processor: what the compiler makes of vectors of four lanes.

#include "direct.h"

namespace certvq {
namespace {

struct Ops {
  static constexpr int kLanes = 4;
  template <class Floats>
  static Floats broadcast(float value) {  // a sum with 0 would be an instruction
    return Floats{value, value, value, value};
  }
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
