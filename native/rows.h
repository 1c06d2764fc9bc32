/// Matrices of any float type of the contract, in somebody else's memory, with any strides.
///
/// In: nothing. Out: their description; `read-inl.h` turns rows into exact doubles.

#pragma once

#include <cstdint>

namespace certvq {

enum class Number : std::uint8_t { kFloat64, kFloat32, kBfloat16, kFloat16 };

/// A matrix that somebody else owns; strides count entries and may be negative or zero.
struct Matrix {
  const void *data;
  Number number;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t row_stride;
  std::int64_t column_stride;
};

constexpr std::int64_t kPad = 8;  // doubles of a vector; rows are padded to whole vectors

constexpr std::int64_t padded(std::int64_t columns) { return (columns + kPad - 1) / kPad * kPad; }

}  // namespace certvq
