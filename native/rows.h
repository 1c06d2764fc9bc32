/// Matrices of any float type of the contract, in somebody else's memory, with any strides.
///
/// In: nothing. Out: their description; `read-inl.h` turns rows into exact doubles.

#pragma once

#include <cstdint>

namespace certvq {

enum class Number : std::uint8_t { kFloat64, kFloat32, kBfloat16, kFloat16 };

constexpr std::int64_t entry_bytes(Number number) {
  return number == Number::kFloat64 ? 8 : number == Number::kFloat32 ? 4 : 2;
}

/// A matrix that somebody else owns; strides count entries and may be negative or zero.
struct Matrix {
  const void *data;
  Number number;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t row_stride;
  std::int64_t column_stride;
};

/// Bring a row into the second cache, if it lies in one piece. Always inlined: of a function that
/// does nothing else GCC 12 leaves out the calls.
__attribute__((always_inline)) inline void fetch_row(const Matrix &matrix, std::int64_t row) {
  constexpr std::int64_t kLine = 64;
  if (matrix.column_stride != 1) return;
  const std::int64_t size = entry_bytes(matrix.number);
  const char *first = static_cast<const char *>(matrix.data) + row * matrix.row_stride * size;
  for (std::int64_t byte = 0; byte < matrix.columns * size; byte += kLine) {
    __builtin_prefetch(first + byte, 0, 2);
  }
}

constexpr std::int64_t kPad = 8;  // doubles of a vector; rows are padded to whole vectors

/// Copy padded rows, `count` of the places that `place` gives, without calls of memmove.
template <class Place>
inline void copy_rows(const double *from, std::int64_t count, std::int64_t stride, Place place, double *to) {
  constexpr std::int64_t kAhead = 8;
  for (std::int64_t row = 0; row < count; ++row, to += stride) {
    if (row + kAhead < count) __builtin_prefetch(from + place(row + kAhead) * stride);
    const double *own = from + place(row) * stride;
    for (std::int64_t d = 0; d < stride; d += kPad) {
      __builtin_memcpy(to + d, own + d, kPad * sizeof(double));
    }
  }
}

constexpr std::int64_t padded(std::int64_t columns) { return (columns + kPad - 1) / kPad * kPad; }

}  // namespace certvq
