/// The one body of all kernels of `direct.h`: rows side by side in the lanes of a vector.
///
/// In: `Ops`, defined by the including `direct_*.cpp` inside an unnamed namespace. Out: `compare`.

typedef float Floats __attribute__((vector_size(Ops::kLanes * 4)));
typedef std::int32_t Ints __attribute__((vector_size(Ops::kLanes * 4)));

inline Floats load(const float *data) {
  Floats vector;
  __builtin_memcpy(&vector, data, sizeof vector);
  return vector;
}

/// The least distance so far and the next, and whose the least is.
struct Best {
  Floats least = Floats{} + __builtin_huge_valf();
  Floats next = Floats{} + __builtin_huge_valf();
  Ints code{};

  void keep(Floats distance, std::int32_t k) {
    const Floats greater = distance > least ? distance : least;
    next = greater < next ? greater : next;
    code = distance < least ? Ints{} + k : code;
    least = distance < least ? distance : least;
  }
};

void compare(const DirectBook &book, const float *columns, const DirectFound &found) {
  constexpr int kVectors = 2;
  float least[kDirectRows];
  float next[kDirectRows];
  for (int row = 0; row < kDirectRows; row += kVectors * Ops::kLanes) {
    Best best[kVectors];
    const float *vectors = book.vectors;
    for (std::int64_t group = 0; group < book.groups; ++group) {
      Floats total[kDirectCodes][kVectors] = {};
      for (std::int64_t d = 0; d < book.dim; ++d, vectors += kDirectCodes) {
        Floats x[kVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          x[v] = load(columns + d * kDirectRows + row + v * Ops::kLanes);
        }
#pragma GCC unroll 4
        for (int code = 0; code < kDirectCodes; ++code) {
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) {
            const Floats difference = x[v] - vectors[code];
            total[code][v] = Ops::multiply_add(difference, difference, total[code][v]);
          }
        }
      }
#pragma GCC unroll 4
      for (int code = 0; code < kDirectCodes; ++code) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          best[v].keep(total[code][v], static_cast<std::int32_t>(group * kDirectCodes + code));
        }
      }
    }
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const int place = row + v * Ops::kLanes;
      __builtin_memcpy(least + place, &best[v].least, sizeof(Floats));
      __builtin_memcpy(next + place, &best[v].next, sizeof(Floats));
      __builtin_memcpy(found.codes + place, &best[v].code, sizeof(Ints));
    }
  }
  // Each square root, product and difference errs by 2^-24 of its result at most.
  constexpr float kLess = 1.0f - 0x1p-21f;
  constexpr float kMore = 1.0f + 0x1p-21f;
  for (int row = 0; row < kDirectRows; ++row) {
    const float rest = next[row] * book.below - book.slack;
    const float own = least[row] * book.above + book.slack;
    found.lowers[row] = __builtin_sqrtf(rest > 0.0f ? rest : 0.0f) * kLess;
    found.leads[row] = found.lowers[row] - __builtin_sqrtf(own) * kMore;
  }
}
