/// What each instruction set provides for pairs of float64 numbers, with one meaning.
///
/// In: nothing. Out: the interface between the bindings and the files `kernel_*.cpp`. Arrays are
/// contiguous; high and low parts are apart.

#pragma once

#include <cstdint>

namespace certvq_wide {

struct In {
  const double *high, *low;
};

struct Out {
  double *high, *low;
};

enum class Unary { kRoot, kExp, kExpm1, kSigmoid, kSilu, kTanh, kSin };
enum class Binary { kSum, kDifference, kProduct, kQuotient };

constexpr std::int64_t kPlaces = 16;  // places of a product come in multiples of this

/// Sums `y[o, p] = sum_t w[o, t] x[offset_t + p]`.
struct Product {
  In weight;                    // (outputs, terms); low may be null, which stands for zeros
  In given;                     // so many that each load of kPlaces is inside; low may be null if both are
  const std::int64_t *offsets;  // (terms)
  const double *anchors;        // (outputs): 1.5 times a power of two, twice what bounds `sum |w| |x|`
  std::int64_t outputs, terms;
  Out result;                   // (outputs, stride)
  std::int64_t stride;
};

struct Kernel {
  const char *name;
  void (*unary)(Unary, In, Out, std::int64_t count);
  /// Entry i has the number `i / inner % period` of the second operand.
  void (*binary)(Binary, In, In, Out, std::int64_t first, std::int64_t last, std::int64_t inner,
                 std::int64_t period);
  /// Low parts may be null, which stands for zeros.
  void (*sums)(In, Out, std::int64_t rows, std::int64_t columns);
  void (*product)(const Product &, std::int64_t first, std::int64_t last);
};

}  // namespace certvq_wide
