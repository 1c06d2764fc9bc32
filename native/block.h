/// A block of latents: exact doubles, and the 16-bit integers that the filter compares.
///
/// In: a matrix and a packed codebook. Out: buffers of one block, read and quantized.

#pragma once

#include <cstdint>

#include "packed.h"

namespace certvq {

/// How far rounding moves each row and a code together, at most.
void lengths_moved(const Quantized &quantized, std::int64_t rows, double *out);

class Block {
 public:
  explicit Block(const Packed &packed);

  /// Rows that fit: a multiple of kTileRows.
  static std::int64_t most_rows(const Packed &packed);

  /// Read `count` rows from the `first`; refuses what is not finite or 2^400 from the centre.
  Refusal read(const Matrix &latents, std::int64_t first, std::int64_t count);

  /// Read the rows of these numbers.
  Refusal gather(const Matrix &latents, const std::int64_t *rows, std::int64_t count);

  /// Look at `count` rows that the caller wrote to `entries`; refuses as `read` does.
  Refusal examine(std::int64_t count);
  double *entries(std::int64_t row) { return exact_.data() + row * packed_.stride; }

  /// Round the rows that were read, and fill the last tile with zeros.
  void quantize();

  std::int64_t rows() const { return rows_; }
  std::int64_t tiled() const { return (rows_ + kTileRows - 1) / kTileRows * kTileRows; }
  const double *exact(std::int64_t row) const { return exact_.data() + row * packed_.stride; }
  const std::int32_t *integers(std::int64_t row) const {
    return integers_.data() + row * packed_.panels.pairs;
  }
  const std::uint8_t *shifts() const { return shifts_.data(); }
  /// The rows and the code vectors, for comparisons in float64.
  Exact described() const;
  /// What rounding did.
  Quantized quantized() const {
    return {norms_.data(), residuals_.data(), scales_.data(), packed_.scale, packed_.code_residual,
            static_cast<double>(packed_.dim), packed_.widen};
  }
  /// Units of the codes in a unit of this row: a power of two.
  double scale(std::int64_t row) const { return scales_.data()[row / kTileRows]; }
  /// Squared distances to the centre.
  const double *squares() const { return squares_.data(); }
  /// Squared norm of the integers.
  double norm(std::int64_t row) const { return norms_.data()[row]; }

 private:
  const Packed &packed_;
  std::int64_t rows_ = 0;
  Aligned<double> exact_;           // (block, stride)
  Aligned<double> squares_;         // (block,), squared norms of x - centre
  Aligned<double> residuals_;       // (block,)
  Aligned<double> norms_;           // (block,)
  Aligned<double> scales_;          // one a tile
  Aligned<std::int32_t> integers_;  // (block, pairs)
  Aligned<std::uint8_t> shifts_;    // (block,), of the offsets
};

}  // namespace certvq
