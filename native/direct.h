/// Nearest codes of rows by float32 distances to every code, for codebooks so small that the filter's
/// bookkeeping would take longer than the products.
///
/// In: rows and distinct code vectors that float32 holds. Out: for each row a code, and lower bounds
/// of the distance to every other one and of how much nearer the code is; only if the latter is above
/// zero has the row been decided.
/// Theorem: dot_rounding_error_le, with the unit roundoff of float32.

#pragma once

#include <cstdint>

#include "packed.h"

namespace certvq {

constexpr int kDirectRows = 64;   // rows that are compared at once
constexpr int kDirectCodes = 4;   // codes side by side

/// Distinct code vectors, kDirectCodes side by side; those in the padding are infinitely far.
struct DirectBook {
  const float *vectors;  // (groups, dim, kDirectCodes)
  std::int64_t groups;
  std::int64_t dim;
  float below, above, slack;  // a squared distance t lies within t below - slack .. t above + slack
};

struct DirectFound {
  std::int32_t *codes;  // (kDirectRows,), as all of these
  float *leads;         // how much nearer the code is than every other one, at least
  float *lowers;        // the distance to every other code, at least
};

/// Compare the columns (dim, kDirectRows) of rows with all codes.
using DirectKernel = void (*)(const DirectBook &book, const float *columns,
                              const DirectFound &found);

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
  float lower(std::int64_t row) const { return lowers_.data()[row]; }

 private:
  const Packed &packed_;
  DirectKernel kernel_;
  Aligned<float> vectors_;
  Aligned<float> columns_;
  Aligned<double> exact_;
  Aligned<std::int32_t> codes_;
  Aligned<float> leads_;
  Aligned<float> lowers_;
  DirectBook book_{};
};

}  // namespace certvq
