/// Vectors of four floats, which every processor of interest has: SSE2, NEON.

#include "rivals.h"

namespace certvq_checker {
namespace {

struct Ops {
  static constexpr int kTile = 4, kVectors = 2;
  typedef float Floats __attribute__((vector_size(16)));
  static Floats fill(float value) { return Floats{value, value, value, value}; }
  static Floats add_product(Floats sum, Floats a, Floats b) { return sum + a * b; }
  static Floats greater(Floats a, Floats b) { return a > b ? a : b; }
  /// Whether some entry is not less than the limit.
  static bool reaches(Floats v, float limit) {
    return !((v[0] < limit) & (v[1] < limit) & (v[2] < limit) & (v[3] < limit));
  }
};

#include "level-inl.h"

bool supported() { return true; }

}  // namespace

extern const Level kPortable;
const Level kPortable = {"portable", Ops::kTile, supported, weigh, sweep};

}  // namespace certvq_checker
