/// Matrices that are hard to assign, in every type and layout that the kernels read.
///
/// In: a source of random bits that is the same on every machine. Out: matrices in memory of exactly
/// their size, so that AddressSanitizer sees the first byte beyond, and their entries as doubles.

#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "../rows.h"
#include "reference.h"

namespace certvq::cases {

using reference::Values;

/// SplitMix64: the distributions of <random> differ between libraries.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(high - low + 1));
  }
  std::int64_t among(std::initializer_list<std::int64_t> values) {
    return values.begin()[between(0, static_cast<std::int64_t>(values.size()) - 1)];
  }
  /// Nearly normal, a multiple of 2^-40.
  double normal() {
    double sum = 0.0;
    for (int term = 0; term < 4; ++term) {
      sum += std::ldexp(static_cast<double>(bits() >> 23), -40) - 1.0;
    }
    return sum;
  }

 private:
  std::uint64_t state_;
};

// Types.

inline std::int64_t size_of(Number number) {
  return number == Number::kFloat64 ? 8 : number == Number::kFloat32 ? 4 : 2;
}

/// The 16-bit number nearest to zero of those beside `value`, at most the largest finite one.
inline std::uint16_t encode_half(double value, int mantissa, int lowest, int highest) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::min(std::fabs(value), std::ldexp(2.0 - std::ldexp(1.0, -mantissa), highest));
  int exponent = size == 0.0 ? lowest : std::max(std::ilogb(size), lowest);
  const auto units = static_cast<int>(std::ldexp(size, mantissa - exponent));  // of the last place
  return static_cast<std::uint16_t>(sign | (((exponent - lowest) << mantissa) + units));
}

inline double decode_half(std::uint16_t bits, int mantissa, int lowest) {
  const int field = (bits & 0x7FFF) >> mantissa;
  const int fraction = bits & ((1 << mantissa) - 1);
  const double size = field == 0 ? std::ldexp(fraction, lowest - mantissa)
                                 : std::ldexp(fraction + (1 << mantissa), lowest - mantissa + field - 1);
  return bits & 0x8000 ? -size : size;
}

/// Write a number of the type, not far from `value`; return what was written.
inline double put(void *place, Number number, double value) {
  constexpr double kMost = static_cast<double>(std::numeric_limits<float>::max());
  std::uint16_t half = 0;
  double written = value;
  if (number == Number::kFloat64) {
    std::memcpy(place, &value, sizeof value);
    return value;
  }
  if (number == Number::kFloat32) {
    const auto narrow = static_cast<float>(std::clamp(value, -kMost, kMost));
    std::memcpy(place, &narrow, sizeof narrow);
    return static_cast<double>(narrow);
  }
  if (number == Number::kBfloat16) {
    half = encode_half(value, 7, -126, 127);
    written = decode_half(half, 7, -126);
  } else {
    half = encode_half(value, 10, -14, 15);
    written = decode_half(half, 10, -14);
  }
  std::memcpy(place, &half, sizeof half);
  return written;
}

// Layouts.

enum class Layout { kRows, kColumns, kReversed, kMirrored, kSparse, kMisaligned, kSameRow, kSameColumn };
constexpr int kLayouts = 8;

/// A matrix in memory that ends with its last entry.
struct Stored {
  std::unique_ptr<char[]> memory;
  Matrix matrix{};
  Values values;  // what the memory holds
};

inline Stored store(const Values &values, Number number, Layout layout) {
  const std::int64_t rows = values.rows, columns = values.columns, size = size_of(number);
  std::int64_t row_stride = columns, column_stride = 1;
  if (layout == Layout::kColumns) row_stride = 1, column_stride = rows;
  if (layout == Layout::kReversed) row_stride = -columns;
  if (layout == Layout::kMirrored) column_stride = -1;
  if (layout == Layout::kSparse) row_stride = 6 * columns + 1, column_stride = 3;
  if (layout == Layout::kSameRow) row_stride = 0;
  if (layout == Layout::kSameColumn) row_stride = 1, column_stride = 0;
  Stored stored;
  stored.values = values;
  stored.matrix = {nullptr, number, rows, columns, row_stride, column_stride};
  if (rows == 0) return stored;
  const std::int64_t down = (rows - 1) * row_stride, across = (columns - 1) * column_stride;
  const std::int64_t before = -std::min<std::int64_t>(down, 0) - std::min<std::int64_t>(across, 0);
  const std::int64_t entries = std::abs(down) + std::abs(across) + 1;
  const std::int64_t skipped = layout == Layout::kMisaligned ? 1 : 0;
  stored.memory.reset(new char[static_cast<std::size_t>(entries * size + skipped)]);
  std::memset(stored.memory.get(), 0xFF, static_cast<std::size_t>(entries * size + skipped));  // NaN
  char *data = stored.memory.get() + skipped + before * size;
  stored.matrix.data = data;
  for (int pass = 0; pass < 2; ++pass) {  // entries that share a place: all get the last value
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t d = 0; d < columns; ++d) {
        const bool first_row = layout == Layout::kSameRow, first_column = layout == Layout::kSameColumn;
        stored.values.at(row, d) = put(data + (row * row_stride + d * column_stride) * size, number,
                                       values.at(first_row ? 0 : row, first_column ? 0 : d));
      }
    }
  }
  return stored;
}

// Numbers.

inline Values draw(Random &random, std::int64_t rows, std::int64_t columns, double spread) {
  Values values{rows, columns, {}};
  for (std::int64_t entry = 0; entry < rows * columns; ++entry) {
    values.entries.push_back(spread > 0 ? random.normal() * spread
                                        : static_cast<double>(random.between(-2, 2)));
  }
  return values;
}

constexpr const char *kFamilies[] = {"normal",     "lattice",     "midpoints", "duplicates",
                                     "offset",     "outlier",     "magnitudes", "one ulp",
                                     "all tie",    "codes",       "huge",       "tiny",
                                     "wide codes", "far latents", "zeros",     "few axes"};
constexpr int kFamilyCount = sizeof(kFamilies) / sizeof(kFamilies[0]);

/// Change latents and code vectors, drawn at random, into something hard.
inline void harden(int family, Random &random, Values &latents, Values &codebook) {
  const std::string name = kFamilies[family];
  const std::int64_t dim = codebook.columns, codes = codebook.rows;
  const auto any_code = [&] { return random.between(0, codes - 1); };
  const auto copy = [dim](Values &to, std::int64_t row, const Values &from, std::int64_t source) {
    for (std::int64_t d = 0; d < dim; ++d) to.at(row, d) = from.at(source, d);
  };
  const auto scale = [](Values &values, int power) {
    for (double &value : values.entries) value = std::ldexp(value, power);
  };
  const auto scale_rows = [&](Values &values, int most) {
    for (std::int64_t row = 0; row < values.rows; ++row) {
      const auto power = static_cast<int>(random.between(-most, most));
      for (std::int64_t d = 0; d < dim; ++d) values.at(row, d) = std::ldexp(values.at(row, d), power);
    }
  };
  if (name == "lattice" || name == "midpoints") {
    codebook = draw(random, codes, dim, 0.0);
    latents = draw(random, latents.rows, dim, 0.0);
  }
  if (name == "midpoints") {
    for (std::int64_t row = 0; row < latents.rows; ++row) {
      const std::int64_t first = any_code(), second = any_code();
      for (std::int64_t d = 0; d < dim; ++d) {
        latents.at(row, d) = (codebook.at(first, d) + codebook.at(second, d)) / 2;
      }
    }
  }
  if (name == "duplicates") {
    for (std::int64_t code = codes / 3; code < codes; ++code) copy(codebook, code, codebook, code / 7);
    for (std::int64_t code = 0; code < codes; code += 5) codebook.at(code, 0) = code % 2 ? 0.0 : -0.0;
  }
  if (name == "offset") {
    const double offset = static_cast<double>(random.among({1000, 100000000, -100000000}));
    for (double &value : latents.entries) value += offset;
    for (double &value : codebook.entries) value += offset;
  }
  if (name == "outlier") {
    const auto power = static_cast<int>(random.between(5, 60));
    for (std::int64_t d = 0, code = any_code(); d < dim; ++d) {
      codebook.at(code, d) = std::ldexp(codebook.at(code, d), power);
    }
  }
  if (name == "magnitudes") scale_rows(latents, 34);
  if (name == "wide codes") scale_rows(codebook, 24);
  if (name == "far latents") scale(latents, static_cast<int>(random.between(2, 70)));
  if (name == "few axes") {
    const auto power = static_cast<int>(random.between(-20, -2));
    for (Values *values : {&latents, &codebook}) {
      for (std::int64_t row = 0; row < values->rows; ++row) {
        for (std::int64_t d = 3; d < dim; ++d) values->at(row, d) = std::ldexp(values->at(row, d), power);
      }
    }
  }
  if (name == "one ulp") {
    for (std::int64_t code = 1; code < codes; ++code) {
      copy(codebook, code, codebook, 0);
      double &entry = codebook.at(code, random.between(0, dim - 1));
      entry = std::nextafter(entry, random.bits() % 2 ? HUGE_VAL : -HUGE_VAL);
    }
  }
  if (name == "all tie") {
    for (std::int64_t code = 1; code < codes; ++code) {
      copy(codebook, code, codebook, 0);
      for (std::int64_t d = dim - 1; d > 0; --d) {
        std::swap(codebook.at(code, d), codebook.at(code, random.between(0, d)));
      }
    }
    for (std::int64_t row = 0; row < latents.rows; ++row) {
      for (std::int64_t d = 1; d < dim; ++d) latents.at(row, d) = latents.at(row, 0);
    }
  }
  if (name == "codes") {
    for (std::int64_t row = 0; row < latents.rows; ++row) copy(latents, row, codebook, any_code());
  }
  if (name == "huge" || name == "tiny") {
    const int power = name == "huge" ? 390 : -390;
    scale(latents, power);
    scale(codebook, power);
  }
  if (name == "zeros") {
    for (double &value : latents.entries) value = -0.0;
    if (random.bits() % 2) std::fill(codebook.entries.begin(), codebook.entries.end(), 0.0);
  }
}

}  // namespace certvq::cases
