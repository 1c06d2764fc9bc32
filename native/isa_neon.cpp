/// NEON, which every 64-bit ARM processor has: widening multiplications and pairwise additions.

#include "bounds.h"
#include "isa.h"

#if defined(__aarch64__)
#include <arm_neon.h>

namespace certvq {
namespace {

struct Ops {
  static constexpr int kLanes = 4;
  static constexpr int kTile = 4;  // 16 sums, 4 vectors of codes, one of a row, two products
  static constexpr int kSmallTile = 4;
  static constexpr int kByteLimit = 0;  // no first pass
  static constexpr std::int64_t kByteChunk = 0;
  typedef std::int32_t Ints __attribute__((vector_size(16)));
  typedef std::int16_t Shorts __attribute__((vector_size(16)));

  static Ints broadcast(std::int32_t value) { return Ints{} + value; }
  static Ints shift_right(Ints v, int bits) { return v >> bits; }
  static void accumulate(Ints &sums, Ints row, Ints codes) {
    const int16x8_t a = reinterpret_cast<int16x8_t>(row);
    const int16x8_t b = reinterpret_cast<int16x8_t>(codes);
    const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
    const int32x4_t high = vmull_high_s16(a, b);
    sums += reinterpret_cast<Ints>(vpaddq_s32(low, high));
  }
  static void pin(Ints &sums) { __asm__ volatile("" : "+w"(sums)); }
  static std::int32_t greatest(Ints v) { return vmaxvq_s32(reinterpret_cast<int32x4_t>(v)); }
  static std::uint32_t at_least(Ints v, std::int32_t threshold) {
    const uint32x4_t bits = {1, 2, 4, 8};
    return vaddvq_u32(
        vandq_u32(vcgeq_s32(reinterpret_cast<int32x4_t>(v), vdupq_n_s32(threshold)), bits));
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
      result[entry] = static_cast<std::int16_t>(vcvtnd_s64_f64(v[entry]));
    }
    return result;
  }
};

#include "body-inl.h"

bool supported() { return true; }

}  // namespace

CERTVQ_TABLE(kNeon, "neon");

}  // namespace certvq
#endif
