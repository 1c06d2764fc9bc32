/// Arithmetic of pairs: the sum of two float64 numbers, of which the first is the sum rounded.
///
/// In: `Ops`, an instruction set. Out: `Pair` and its operations on vectors, included by one file for
/// each instruction set and compiled without contraction; all of them compute the same bits. With u =
/// 2^-53, relative errors are at most 3.1 u^2 for sums, 5 u^2 for products, 16 u^2 for quotients and
/// 4 u^2 for square roots (Joldes, Muller, Popescu, "Tight and rigorous error bounds for basic building
/// blocks of double-word arithmetic", 2017; Lefevre et al., "Accurate calculation of Euclidean norms
/// using double-word arithmetic", 2023), but for less than 2^-1000 that underflows. What overflows is not
/// finite, and quotients and roots of numbers so small that more would underflow are NaN.

constexpr int kLanes = Ops::kLanes;
typedef double V __attribute__((vector_size(8 * Ops::kLanes)));
typedef std::int64_t I __attribute__((vector_size(8 * Ops::kLanes)));

inline V load(const double *data) {
  V v;
  __builtin_memcpy(&v, data, sizeof v);
  return v;
}

inline void store(double *data, V v) { __builtin_memcpy(data, &v, sizeof v); }

inline V all(double value) { return value - V{}; }

inline V fused(V a, V b, V c) { return Ops::fused(a, b, c); }

struct Pair {
  V high, low;
};

/// The sum of two numbers, exact.
inline Pair two_sum(V a, V b) {
  const V sum = a + b;
  const V part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

/// The same where the first is 0 or its exponent is not below that of the second.
inline Pair fast_two_sum(V a, V b) {
  const V sum = a + b;
  return {sum, b - (sum - a)};
}

inline Pair two_product(V a, V b) {
  const V product = a * b;
  return {product, fused(a, b, -product)};
}

inline Pair operator-(Pair x) { return {-x.high, -x.low}; }

inline Pair operator+(Pair x, Pair y) {
  const Pair s = two_sum(x.high, y.high), t = two_sum(x.low, y.low);
  const Pair v = fast_two_sum(s.high, s.low + t.high);
  return fast_two_sum(v.high, t.low + v.low);
}

inline Pair operator-(Pair x, Pair y) { return x + -y; }

/// The sum where the second is at most half the first, or is not greater and has its sign.
inline Pair fast_sum(Pair x, Pair y) {
  const Pair s = fast_two_sum(x.high, y.high);
  return fast_two_sum(s.high, s.low + (x.low + y.low));
}

inline Pair operator*(Pair x, Pair y) {
  const Pair c = two_product(x.high, y.high);
  const V cross = fused(x.low, y.high, fused(x.high, y.low, x.low * y.low));
  return fast_two_sum(c.high, c.low + cross);
}

inline Pair operator*(Pair x, V y) {
  const Pair c = two_product(x.high, y);
  return fast_two_sum(c.high, fused(x.low, y, c.low));
}

constexpr double kSmall = 0x1p-900;  // products of greater numbers with 2^-100 of them do not underflow

inline V size(V x) { return x < 0.0 ? -x : x; }

inline Pair operator/(Pair x, Pair y) {
  const I lost = (x.high != 0.0) & (size(x.high) < kSmall) & (size(y.high) < 0x1p-60);
  const V quotient = x.high / y.high;
  const Pair r = y * quotient;
  const V rest = (x.high - r.high) + (x.low - r.low);
  return fast_two_sum(lost ? all(__builtin_nan("")) : quotient, rest / y.high);
}

inline Pair root(Pair x) {
  const I lost = (x.high != 0.0) & (x.high < kSmall);
  const V high = lost ? all(__builtin_nan("")) : Ops::root(x.high);
  const V rest = x.low + fused(-high, high, x.high);
  const V low = rest / (high + high);
  return fast_two_sum(high, x.high == 0.0 ? V{} : low);
}

/// The nearest whole number of one below 2^51, ties to even.
inline V nearest(V x) { return (x + 0x1.8p52) - 0x1.8p52; }

/// `2^k` for a whole number k within -1000 .. 1000.
inline V power_of_two(V k) {
  const V shifted = k + (0x1.8p52 + 1023.0);
  return reinterpret_cast<V>(reinterpret_cast<I>(shifted) << 52);
}
