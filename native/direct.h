/// Nearest codes of rows by float32 products with every code, for codebooks so small that the filter's
/// bookkeeping would take longer than the products.
///
/// In: rows and distinct code vectors that float32 holds. Out: for each row a code, and a lower bound
/// of how much nearer it is than every other one; only if that is above zero has the row been decided.
/// Theorem: dot_rounding_error_le, with the unit roundoff of float32.

#pragma once

#include <cstdint>

#include "packed.h"

namespace certvq {

constexpr int kDirectRows = 64;   // rows that are compared at once
constexpr int kDirectCodes = 4;   // codes side by side

/// Numbers of a codebook, at most; measured in docs/engineering.md.
constexpr std::int64_t kDirectEntries = 1 << 13;

/// Distinct code vectors less a centre, rounded, kDirectCodes side by side, after minus half of their
/// squares: which is minus infinity in the padding.
struct DirectBook {
  const float *vectors;  // (groups, 1 + dim, kDirectCodes)
  std::int64_t groups;
  std::int64_t dim;
  float radius;         // at least the greatest length
  float factor, slack;  // see direct.cpp
};

struct CloserBook;  // of closer.h
constexpr int kCloserVectors = 3;  // side by side

/// What each instruction set provides.
struct DirectIsa {
  /// Compare the columns (dim, kDirectRows) of rows less the centre, rounded, with all codes.
  void (*compare)(const DirectBook &book, const float *columns, std::int32_t *codes, float *leads);
  /// Set a bit for each row, of these columns, that may be nearer to a vector than its limit.
  void (*closer)(const CloserBook &book, const float *columns, const double *limits,
                 std::uint64_t *near);
  /// Write the columns of at most kDirectRows rows of float32, of these numbers or else from `first`
  /// on; the numbers of a row lie next to each other.
  void (*columns)(const Matrix &matrix, const std::int64_t *rows, std::int64_t first,
                  std::int64_t count, const float *centre, float *out);
};

const DirectIsa &direct_isa(const Isa &isa);

/// At most kDirectRows rows of a matrix, of these numbers or else from `first` on.
struct FewRows {
  const Matrix &matrix;
  const std::int64_t *rows;
  std::int64_t first, count;
};

/// Write the columns of rows of any float type, less the centre, rounded once or twice; `exact` has
/// room for a padded row.
void read_columns(const DirectIsa &kernels, const Isa &isa, const FewRows &few, const float *centre,
                  double *exact, float *columns);

class Direct {
 public:
  explicit Direct(const Packed &packed);

  /// Whether it is worth it, for rows of this type.
  static bool pays(const Packed &packed, Number number);

  /// Decide what can be decided of at most kDirectRows rows, of these numbers or else from `first` on.
  void decide(const Matrix &matrix, const std::int64_t *rows, std::int64_t first,
              std::int64_t count);
  std::int32_t code(std::int64_t row) const { return codes_.data()[row]; }
  float lead(std::int64_t row) const { return leads_.data()[row]; }

 private:
  const Packed &packed_;
  const DirectIsa &kernels_;
  Aligned<float> centre_;
  Aligned<float> vectors_;
  Aligned<float> columns_;
  Aligned<double> exact_;
  Aligned<std::int32_t> codes_;
  Aligned<float> leads_;
  DirectBook book_{};
};

}  // namespace certvq
