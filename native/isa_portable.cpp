/// Any processor: what the compiler makes of vectors of four lanes, without any intrinsic.

#include "bounds.h"
#include "isa.h"

namespace certvq {
namespace {

struct Ops {
  static constexpr int kLanes = 4;
  static constexpr int kTile = 2;
  static constexpr int kSmallTile = 2;
  static constexpr int kByteLimit = 0;  // no first pass
  static constexpr std::int64_t kByteChunk = 0;
  typedef std::int32_t Ints __attribute__((vector_size(16)));
  typedef std::int16_t Shorts __attribute__((vector_size(16)));

  static Ints broadcast(std::int32_t value) { return Ints{} + value; }
  static Ints shift_right(Ints v, int bits) { return v >> bits; }
  static void accumulate(Ints &sums, Ints row, Ints codes) {
    const Ints low = (row << 16 >> 16) * (codes << 16 >> 16);
    const Ints high = (row >> 16) * (codes >> 16);
    sums += low + high;
  }
  static void pin(Ints &) {}
  static std::int32_t greatest(Ints v) {
    std::int32_t result = v[0];
    for (int lane = 1; lane < kLanes; ++lane) result = v[lane] > result ? v[lane] : result;
    return result;
  }
  static std::uint32_t at_least(Ints v, std::int32_t threshold) {
    std::uint32_t mask = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      mask |= static_cast<std::uint32_t>(v[lane] >= threshold) << lane;
    }
    return mask;
  }
  template <class Doubles>
  static Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
    return a * b + c;
  }
  template <class Doubles, class Floats>
  static Doubles widen(Floats v) {
    return __builtin_convertvector(v, Doubles);
  }
  template <class Doubles>
  static Doubles numbers(Shorts v) {
    return __builtin_convertvector(v, Doubles);
  }
  template <class Doubles>
  static Shorts round(Doubles v) {
    Shorts result{};
    for (int entry = 0; entry < 8; ++entry) {
      result[entry] = static_cast<std::int16_t>(__builtin_nearbyint(v[entry]));
    }
    return result;
  }
};

#include "body-inl.h"

bool supported() { return true; }

}  // namespace

CERTVQ_TABLE(kPortable, "portable");

}  // namespace certvq
