/// Any processor: what the compiler makes of vectors of four lanes.

#include "closer.h"

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
  template <class Floats>
  static Floats greater(Floats a, Floats b) {
    return a > b ? a : b;
  }
  template <class Floats>
  static Floats less(Floats a, Floats b) {
    return a < b ? a : b;
  }
  template <class Ints>
  static std::uint64_t mask(Ints lanes) {  // each of them 0 or -1
    std::uint64_t bits = 0;
    for (int lane = 0; lane < kLanes; ++lane) bits |= static_cast<std::uint64_t>(lanes[lane] & 1) << lane;
    return bits;
  }
};

#include "columns-inl.h"
#include "direct-inl.h"
#include "closer-inl.h"

}  // namespace

extern const DirectIsa kDirectPortable;
const DirectIsa kDirectPortable = {compare, closer, columns};

}  // namespace certvq
