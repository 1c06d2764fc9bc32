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

constexpr std::int64_t padded(std::int64_t columns) { return (columns + kPad - 1) / kPad * kPad; }

}  // namespace certvq
