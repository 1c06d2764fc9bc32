#include "moments.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace certvq {
namespace {

using Signed = __int128;
using Unsigned = unsigned __int128;

constexpr int kDigit = 32;
constexpr double kError = 0x1p-50;  // more than three roundings, of a sum and its quotient

Signed read(const Sums &sums, std::int64_t place) {
  const std::int64_t plane = sums.cells * sums.columns;
  Unsigned value = 0;  // modulo 2^128: the sign comes with the last digit
  for (std::int64_t digit = sums.places - 1; digit >= 0; --digit) {
    value = (value << kDigit) + static_cast<Unsigned>(
                                    static_cast<Signed>(sums.digits[digit * plane + place]));
  }
  return static_cast<Signed>(value);
}

double approximate(Signed value) {
  const auto high = static_cast<std::int64_t>(value >> 64);
  const auto low = static_cast<std::uint64_t>(value);
  return static_cast<double>(high) * 0x1p+64 + static_cast<double>(low);
}

/// Which of two neighbours is nearer to `size / count` units: compares the size with the middle times
/// the count. The two nearly agree, so that neither is longer than the other one, which is not shifted.
float decide(Signed size, std::int64_t count, int lowest, float low, float high) {
  int exponent;
  const double middle = 0.5 * (static_cast<double>(low) + static_cast<double>(high));
  const double mantissa = std::frexp(middle, &exponent) * 0x1p+25;  // a whole number: 25 bits do
  const int shift = exponent - 25 - lowest;
  const Signed product = static_cast<Signed>(static_cast<std::int64_t>(mantissa)) * count;
  const Signed one = shift < 0 ? size << -shift : size;
  const Signed other = shift < 0 ? product : product << shift;
  if (one != other) return one < other ? low : high;
  std::uint32_t bits;
  std::memcpy(&bits, &low, sizeof bits);
  return bits % 2 == 0 ? low : high;
}

Wide wide(Signed value) {
  return {static_cast<std::uint64_t>(value), static_cast<std::int64_t>(value >> 64)};
}

}  // namespace

void float32_means(const Sums &sums, const std::int64_t *counts, int lowest, float *means) {
  const double unit = std::ldexp(1.0, lowest);
  for (std::int64_t cell = 0; cell < sums.cells; ++cell) {
    if (counts[cell] == 0) continue;
    const auto count = static_cast<double>(counts[cell]);
    for (std::int64_t d = 0; d < sums.columns; ++d) {
      const std::int64_t place = cell * sums.columns + d;
      const Signed sum = read(sums, place);
      const Signed size = sum < 0 ? -sum : sum;  // so that nothing cancels
      const double mean = approximate(size) / count * unit;
      auto low = static_cast<float>(mean * (1.0 - kError));
      const auto high = static_cast<float>(mean * (1.0 + kError));
      if (low != high) low = decide(size, counts[cell], lowest, low, high);
      means[place] = sum < 0 ? -low : low;
    }
  }
}

bool moments(const Sums &sums, const double *vectors, int lowest, int bits, Wide *dots,
             Wide *squares) {
  const double factor = std::ldexp(1.0, -lowest);
  const double limit = std::ldexp(1.0, bits);
  const std::int64_t plane = sums.cells * sums.columns;
  std::vector<Signed> totals(static_cast<std::size_t>(sums.places), 0);
  for (std::int64_t cell = 0; cell < sums.cells; ++cell) {
    Signed square = 0;
    for (std::int64_t d = 0; d < sums.columns; ++d) {
      const std::int64_t place = cell * sums.columns + d;
      const double value = vectors[place] * factor;
      if (!(std::fabs(value) < limit)) return false;
      const auto whole = static_cast<std::int64_t>(value);
      if (static_cast<double>(whole) != value) return false;
      square += static_cast<Signed>(whole) * whole;
      for (std::int64_t digit = 0; digit < sums.places; ++digit) {
        totals[static_cast<std::size_t>(digit)] +=
            static_cast<Signed>(whole) * sums.digits[digit * plane + place];
      }
    }
    squares[cell] = wide(square);
  }
  for (std::int64_t digit = 0; digit < sums.places; ++digit) {
    dots[digit] = wide(totals[static_cast<std::size_t>(digit)]);
  }
  return true;
}

}  // namespace certvq
