/// The kernels on pairs, for one instruction set.
///
/// In: `Ops`. Out: what `Kernel` points to.

#include "pairs-inl.h"

#include "functions-inl.h"

inline Pair load(In in, std::int64_t i) { return {load(in.high + i), load(in.low + i)}; }

inline Pair all(In in, std::int64_t i) { return {all(in.high[i]), all(in.low[i])}; }

inline void store(Out out, std::int64_t i, Pair x) {
  store(out.high + i, x.high);
  store(out.low + i, x.low);
}

/// Call `step(first, count)` for vectors; the last one may be of fewer entries, from a buffer.
template <class Function>
inline void map_entries(In in, Out out, std::int64_t first, std::int64_t last, Function function) {
  std::int64_t i = first;
  for (; i + kLanes <= last; i += kLanes) store(out, i, function(load(in, i), i));
  if (i == last) return;
  double high[kLanes] = {}, low[kLanes] = {};
  const std::size_t bytes = static_cast<std::size_t>(last - i) * sizeof(double);
  std::memcpy(high, in.high + i, bytes);
  std::memcpy(low, in.low + i, bytes);
  const Pair result = function({load(high), load(low)}, i);
  store(high, result.high);
  store(low, result.low);
  std::memcpy(out.high + i, high, bytes);
  std::memcpy(out.low + i, low, bytes);
}

template <Pair (*kFunction)(Pair)>
void map_all(In in, Out out, std::int64_t count) {
  map_entries(in, out, 0, count, [](Pair x, std::int64_t) { return kFunction(x); });
}

void unary(Unary operation, In in, Out out, std::int64_t count) {
  switch (operation) {
    case Unary::kRoot: return map_all<root>(in, out, count);
    case Unary::kExp: return map_all<exponential>(in, out, count);
    case Unary::kExpm1: return map_all<exponential_less_one>(in, out, count);
    case Unary::kSigmoid: return map_all<sigmoid>(in, out, count);
    case Unary::kSilu: return map_all<silu>(in, out, count);
    case Unary::kTanh: return map_all<hyperbolic_tangent>(in, out, count);
    case Unary::kSin: return map_all<sine>(in, out, count);
  }
}

template <class Operation>
void combine(In left, In right, Out out, std::int64_t first, std::int64_t last, std::int64_t inner,
             std::int64_t period, Operation operation) {
  if (inner == 1) {  // runs of the whole second operand
    for (std::int64_t start = first; start < last;) {
      const std::int64_t run = start / period * period, end = run + period < last ? run + period : last;
      map_entries(left, out, start, end, [=](Pair x, std::int64_t i) {
        if (i + kLanes <= end) return operation(x, load(right, i - run));
        double high[kLanes] = {}, low[kLanes] = {};
        for (std::int64_t k = i; k < end; ++k) {
          high[k - i] = right.high[k - run];
          low[k - i] = right.low[k - run];
        }
        return operation(x, Pair{load(high), load(low)});
      });
      start = end;
    }
    return;
  }
  for (std::int64_t start = first; start < last;) {
    const std::int64_t segment = start / inner, limit = (segment + 1) * inner;
    const std::int64_t end = limit < last ? limit : last;
    const Pair y = all(right, segment % period);
    map_entries(left, out, start, end, [=](Pair x, std::int64_t) { return operation(x, y); });
    start = end;
  }
}

void binary(Binary operation, In left, In right, Out out, std::int64_t first, std::int64_t last,
            std::int64_t inner, std::int64_t period) {
  const auto with = [&](auto function) {
    combine(left, right, out, first, last, inner, period, function);
  };
  switch (operation) {
    case Binary::kSum: return with([](Pair x, Pair y) { return x + y; });
    case Binary::kDifference: return with([](Pair x, Pair y) { return x - y; });
    case Binary::kProduct: return with([](Pair x, Pair y) { return x * y; });
    case Binary::kQuotient: return with([](Pair x, Pair y) { return x / y; });
  }
}

/// Sums of rows, eight at a time whatever the instruction set: each entry is added once to a partial
/// sum, and these to each other, so that a sum of n rounds like `n / 8 + 8` additions.
template <bool kPairs>
void sums_of(In in, Out out, std::int64_t rows, std::int64_t columns) {
  constexpr int kParts = 8 / kLanes;
  for (std::int64_t row = 0; row < rows; ++row) {
    const double *line = in.high + row * columns, *rest = kPairs ? in.low + row * columns : nullptr;
    Pair part[kParts] = {};
    std::int64_t i = 0;
    for (; i + 8 <= columns; i += 8) {
      for (int k = 0; k < kParts; ++k) {
        const std::int64_t at = i + k * kLanes;
        part[k] = part[k] + Pair{load(line + at), kPairs ? load(rest + at) : V{}};
      }
    }
    double high[8], low[8];
    for (int k = 0; k < kParts; ++k) {
      store(high + k * kLanes, part[k].high);
      store(low + k * kLanes, part[k].low);
    }
    Pair total{};
    for (int k = 0; k < 8; ++k) total = total + Pair{all(high[k]), all(low[k])};
    for (; i < columns; ++i) total = total + Pair{all(line[i]), all(kPairs ? rest[i] : 0.0)};
    out.high[row] = total.high[0];
    out.low[row] = total.low[0];
  }
}

void sums(In in, Out out, std::int64_t rows, std::int64_t columns) {
  in.low == nullptr ? sums_of<false>(in, out, rows, columns) : sums_of<true>(in, out, rows, columns);
}

/// Terms after which low parts are moved to a sum of their own.
constexpr std::int64_t kTerms = 32;

/// A tile of outputs and places. The sums of high parts begin at an anchor so great that its last bit
/// stays what it is: what an addition rounds away is then `w x - (after - before)`, exact but for its own
/// rounding, and is added to the low parts.
template <int kRows, bool kLow, bool kPairs>
inline void tile(const Product &p, const double *weight, std::int64_t output, std::int64_t place) {
  constexpr int kVectors = Ops::kVectors, kWidth = kLow ? 2 * kRows : kRows;
  V sum[kRows][kVectors], rest[kRows][kVectors] = {}, rests[kRows][kVectors] = {};
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = all(p.anchors[output + r]);
  }
  for (std::int64_t start = 0; start < p.terms; start += kTerms) {
    const std::int64_t end = start + kTerms < p.terms ? start + kTerms : p.terms;
    for (std::int64_t t = start; t < end; ++t) {
      const std::int64_t at = p.offsets[t] + place;
      V high[kVectors], low[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        high[v] = load(p.given.high + at + v * kLanes);
        if constexpr (kPairs) low[v] = load(p.given.low + at + v * kLanes);
      }
      const double *w = weight + t * kWidth;
      for (int r = 0; r < kRows; ++r) {
        const V factor = all(w[r]);
        for (int v = 0; v < kVectors; ++v) {
          const V after = fused(factor, high[v], sum[r][v]);
          const V lost = fused(factor, high[v], sum[r][v] - after);
          sum[r][v] = after;
          rest[r][v] += lost;
          if constexpr (kPairs) rest[r][v] = fused(factor, low[v], rest[r][v]);
          if constexpr (kLow) rest[r][v] = fused(all(w[kRows + r]), high[v], rest[r][v]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        rests[r][v] += rest[r][v];
        rest[r][v] = V{};
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const std::int64_t at = (output + r) * p.stride + place + v * kLanes;
      store(p.result, at, two_sum(sum[r][v] - all(p.anchors[output + r]), rests[r][v]));
    }
  }
}

template <int kRows, bool kLow, bool kPairs>
void outputs_of(const Product &p, std::int64_t output, std::int64_t first, std::int64_t last,
                double *packed) {
  constexpr int kWidth = kLow ? 2 * kRows : kRows;
  for (int r = 0; r < kRows; ++r) {
    for (std::int64_t t = 0; t < p.terms; ++t) {
      packed[t * kWidth + r] = p.weight.high[(output + r) * p.terms + t];
      if constexpr (kLow) packed[t * kWidth + kRows + r] = p.weight.low[(output + r) * p.terms + t];
    }
  }
  constexpr std::int64_t kStep = Ops::kVectors * kLanes;
  static_assert(kPlaces % kStep == 0, "a tile has a part of the places");
  for (std::int64_t place = first; place < last; place += kStep) {
    tile<kRows, kLow, kPairs>(p, packed, output, place);
  }
}

template <bool kLow, bool kPairs>
void product_of(const Product &p, std::int64_t first, std::int64_t last) {
  double *packed = new double[static_cast<std::size_t>(2 * Ops::kRows * p.terms)];
  std::int64_t output = 0;
  for (; output + Ops::kRows <= p.outputs; output += Ops::kRows) {
    outputs_of<Ops::kRows, kLow, kPairs>(p, output, first, last, packed);
  }
  for (; output < p.outputs; ++output) outputs_of<1, kLow, kPairs>(p, output, first, last, packed);
  delete[] packed;
}

void product(const Product &p, std::int64_t first, std::int64_t last) {
  if (p.given.low == nullptr) return product_of<false, false>(p, first, last);
  p.weight.low == nullptr ? product_of<false, true>(p, first, last) : product_of<true, true>(p, first, last);
}
