/// Vectors of an instruction set, and sums of squares in them.
///
/// In: `Ops`, and memory of any alignment. Out: the types that `body-inl.h`, which includes this, computes
/// with. Sums have one order everywhere.

using Ints = Ops::Ints;
constexpr int kLanes = Ops::kLanes;
constexpr int kPanelCodes = kBlocks * kLanes;

typedef double Doubles __attribute__((vector_size(64)));  // lowered to what the processor has
typedef double HalfDoubles __attribute__((vector_size(32)));
typedef double PairDoubles __attribute__((vector_size(16)));
typedef float Floats __attribute__((vector_size(32)));

template <class Vector>
inline Vector load(const void *data) {
  Vector vector;
  __builtin_memcpy(&vector, data, sizeof vector);
  return vector;
}

template <class Vector>
inline void store(void *data, Vector vector) {
  __builtin_memcpy(data, &vector, sizeof vector);
}

inline HalfDoubles load_half(const double *data) { return load<HalfDoubles>(data); }
inline HalfDoubles load_half(const float *data) {
  typedef float HalfFloats __attribute__((vector_size(16)));
  return __builtin_convertvector(load<HalfFloats>(data), HalfDoubles);
}
inline Doubles load_vector(const double *data) { return load<Doubles>(data); }
inline Doubles load_vector(const float *data) { return Ops::widen<Doubles>(load<Floats>(data)); }

/// Eight sums, mostly of squares, in as many registers as the instruction set needs for them: GCC 12 keeps a
/// longer vector that lives through a loop in memory.
template <class Part>
struct SumOf {
  static constexpr int kParts = sizeof(Doubles) / sizeof(Part);
  Part part[kParts] = {};

  __attribute__((always_inline)) void add_square(Doubles v) { add(v * v); }
  __attribute__((always_inline)) void add(Doubles v) {
    if constexpr (kParts == 1) {
      part[0] += v;
    } else if constexpr (kParts == 2) {
      part[0] += __builtin_shufflevector(v, v, 0, 1, 2, 3);
      part[1] += __builtin_shufflevector(v, v, 4, 5, 6, 7);
    } else {
      part[0] += __builtin_shufflevector(v, v, 0, 1);
      part[1] += __builtin_shufflevector(v, v, 2, 3);
      part[2] += __builtin_shufflevector(v, v, 4, 5);
      part[3] += __builtin_shufflevector(v, v, 6, 7);
    }
  }
  HalfDoubles half() const {
    if constexpr (kParts == 1) {
      return __builtin_shufflevector(part[0], part[0], 0, 1, 2, 3) +
             __builtin_shufflevector(part[0], part[0], 4, 5, 6, 7);
    } else if constexpr (kParts == 2) {
      return part[0] + part[1];
    } else {
      return __builtin_shufflevector(part[0] + part[2], part[1] + part[3], 0, 1, 2, 3);
    }
  }
  double all() const {
    const HalfDoubles v = half();
    const PairDoubles pair = __builtin_shufflevector(v, v, 0, 1) + __builtin_shufflevector(v, v, 2, 3);
    return pair[0] + pair[1];
  }
};

typedef double Register __attribute__((vector_size(4 * kLanes)));
using Sum = SumOf<Register>;

/// Four sums at once, each as `all` computes it of its half.
inline HalfDoubles sums(const HalfDoubles (&half)[4]) {
  const HalfDoubles low = __builtin_shufflevector(half[0], half[1], 0, 1, 4, 5) +
                          __builtin_shufflevector(half[0], half[1], 2, 3, 6, 7);
  const HalfDoubles high = __builtin_shufflevector(half[2], half[3], 0, 1, 4, 5) +
                           __builtin_shufflevector(half[2], half[3], 2, 3, 6, 7);
  return __builtin_shufflevector(low, high, 0, 2, 4, 6) +
         __builtin_shufflevector(low, high, 1, 3, 5, 7);
}

inline HalfDoubles sums(const Sum (&v)[4]) {
  const HalfDoubles half[4] = {v[0].half(), v[1].half(), v[2].half(), v[3].half()};
  return sums(half);
}
