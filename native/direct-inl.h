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

/// The greatest score so far and the next, and whose the greatest is.
struct Best {
  Floats most = Floats{} - __builtin_huge_valf();
  Floats next = Floats{} - __builtin_huge_valf();
  Ints code{};

  void keep(Floats score, std::int32_t k) {
    next = Ops::greater(Ops::less(most, score), next);
    code = score > most ? Ints{} + k : code;
    most = Ops::greater(score, most);
  }
};

constexpr int kVectors = 2;  // of rows, at once

inline void compare_some(const DirectBook &book, const float *columns, Best (&best)[kVectors],
                         Floats (&squares)[kVectors]) {
  for (std::int64_t d = 0; d < book.dim; ++d) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const Floats x = load(columns + d * kDirectRows + v * Ops::kLanes);
      squares[v] = Ops::multiply_add(x, x, squares[v]);
    }
  }
  const float *vectors = book.vectors;
  for (std::int64_t group = 0; group < book.groups; ++group) {
    Floats total[kDirectCodes][kVectors];
#pragma GCC unroll 4
    for (int code = 0; code < kDirectCodes; ++code) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) total[code][v] = Ops::broadcast<Floats>(vectors[code]);
    }
    vectors += kDirectCodes;
    for (std::int64_t d = 0; d < book.dim; ++d, vectors += kDirectCodes) {
      Floats x[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        x[v] = load(columns + d * kDirectRows + v * Ops::kLanes);
      }
#pragma GCC unroll 4
      for (int code = 0; code < kDirectCodes; ++code) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          const Floats y = Ops::broadcast<Floats>(vectors[code]);
          total[code][v] = Ops::multiply_add(x[v], y, total[code][v]);
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
}

/// The lead of a row from its square and the two greatest scores; see direct.cpp.
inline float lead_of(const DirectBook &book, float square, float most, float next) {
  constexpr float kLess = 1.0f - 0x1p-21f;  // four roundings are paid for by eight
  constexpr float kMore = 1.0f + 0x1p-21f;
  const float reach = __builtin_sqrtf(square) + book.radius;
  const float error = book.factor * (reach * reach) + book.slack;
  const float farther = square - 2.0f * next - error;
  const float nearer = square - 2.0f * most + error;
  const float moved = 0x1p-23f * reach;
  const float rest = __builtin_sqrtf(farther > 0.0f ? farther : 0.0f) * kLess - moved;
  const float own = (__builtin_sqrtf(nearer > 0.0f ? nearer : 0.0f) + moved) * kMore;
  return rest - own;
}

void compare(const DirectBook &book, const float *columns, std::int32_t *codes, float *leads) {
  float square[kDirectRows];
  float most[kDirectRows];
  float next[kDirectRows];
  for (int row = 0; row < kDirectRows; row += kVectors * Ops::kLanes) {
    Best best[kVectors];
    Floats squares[kVectors] = {};
    compare_some(book, columns + row, best, squares);
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const int place = row + v * Ops::kLanes;
      __builtin_memcpy(square + place, &squares[v], sizeof(Floats));
      __builtin_memcpy(most + place, &best[v].most, sizeof(Floats));
      __builtin_memcpy(next + place, &best[v].next, sizeof(Floats));
      __builtin_memcpy(codes + place, &best[v].code, sizeof(Ints));
    }
  }
  for (int row = 0; row < kDirectRows; ++row) {
    leads[row] = lead_of(book, square[row], most[row], next[row]);
  }
}
