/// Nearest codes in exact integers, by a method that shares nothing with the kernels.
///
/// In: latents and code vectors as exact doubles whose significant bits span at most 120 places. Out:
/// the lowest nearest code of each row and its squared distance. Slow, and obvious on purpose.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <vector>

namespace certvq::reference {

using Integer = __int128;
using Natural = unsigned __int128;

/// Rows of doubles, one after the other.
struct Values {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> entries;

  double &at(std::int64_t row, std::int64_t column) {
    return entries[static_cast<std::size_t>(row * columns + column)];
  }
  double at(std::int64_t row, std::int64_t column) const {
    return entries[static_cast<std::size_t>(row * columns + column)];
  }
};

/// Round a natural number to 53 bits, to nearest even; limbs of 64 bits, lowest first.
inline double rounded(const std::uint64_t *limbs, int count) {
  const auto bit = [&](int place) { return place >= 0 && (limbs[place / 64] >> (place % 64) & 1) != 0; };
  int top = 64 * count - 1;
  while (top >= 0 && !bit(top)) --top;
  std::uint64_t kept = 0;
  for (int place = top; place > top - 53; --place) kept = 2 * kept + (bit(place) ? 1 : 0);
  bool below = false;
  for (int place = top - 54; place >= 0; --place) below = below || bit(place);
  if (bit(top - 53) && (below || kept % 2 == 1)) ++kept;
  return std::ldexp(static_cast<double>(kept), top - 52);
}

/// A sum of squares below 2^128.
struct Narrow {
  static constexpr int kBits = 57;  // of the entries: two more bits and up to 2^10 terms
  Natural total = 0;

  void add_square(Integer difference) { total += static_cast<Natural>(difference * difference); }
  bool operator<(const Narrow &other) const { return total < other.total; }
  double nearest_double() const {
    const std::uint64_t limbs[] = {static_cast<std::uint64_t>(total),
                                   static_cast<std::uint64_t>(total >> 64)};
    return rounded(limbs, 2);
  }
  long double value() const {
    return std::ldexp(static_cast<long double>(static_cast<std::uint64_t>(total >> 64)), 64) +
           static_cast<long double>(static_cast<std::uint64_t>(total));
  }
};

/// A sum of squares below 2^320.
struct Wide {
  static constexpr int kBits = 120;
  std::uint64_t limbs[5] = {};  // lowest first

  void add(Natural number, int limb) {
    Natural carry = 0;
    for (; limb < 5 && (number != 0 || carry != 0); ++limb, number >>= 64) {
      carry += static_cast<Natural>(limbs[limb]) + static_cast<std::uint64_t>(number);
      limbs[limb] = static_cast<std::uint64_t>(carry);
      carry >>= 64;
    }
  }
  void add_square(Integer difference) {
    const Natural size = static_cast<Natural>(difference < 0 ? -difference : difference);
    const Natural low = static_cast<std::uint64_t>(size);
    const Natural high = size >> 64;
    add(low * low, 0);
    add(low * high, 1);
    add(low * high, 1);
    add(high * high, 2);
  }
  double nearest_double() const { return rounded(limbs, 5); }
  bool operator<(const Wide &other) const {
    for (int limb = 4; limb >= 0; --limb) {
      if (limbs[limb] != other.limbs[limb]) return limbs[limb] < other.limbs[limb];
    }
    return false;
  }
  long double value() const {
    long double sum = 0;
    for (int limb = 4; limb >= 0; --limb) {
      sum = std::ldexp(sum, 64) + static_cast<long double>(limbs[limb]);
    }
    return sum;
  }
};

struct Answer {
  std::vector<std::int64_t> codes;
  std::vector<long double> sqdist;  // to about 2^-60, relatively
  std::vector<double> rounded;      // once; not of subnormal squared distances
};

/// The lowest and the highest place that a bit of the numbers takes.
struct Span {
  int lowest = std::numeric_limits<int>::max();
  int highest = std::numeric_limits<int>::min();

  void include(const Values &values) {
    for (double value : values.entries) {
      if (value == 0.0) continue;
      int exponent;
      auto bits = static_cast<std::uint64_t>(std::ldexp(std::frexp(std::fabs(value), &exponent), 53));
      for (exponent -= 53; bits % 2 == 0; bits /= 2) ++exponent;
      lowest = std::min(lowest, exponent);
      for (; bits != 0; bits /= 2) ++exponent;
      highest = std::max(highest, exponent);
    }
  }
};

inline std::vector<Integer> on_grid(const Values &values, int exponent) {
  std::vector<Integer> integers;
  integers.reserve(values.entries.size());
  for (double value : values.entries) {
    int own;
    const auto bits = static_cast<std::int64_t>(std::ldexp(std::frexp(value, &own), 53));
    const int shift = own - 53 - exponent;
    const Integer wide = bits;
    integers.push_back(bits == 0 ? 0
                       : shift < 0 ? wide / (Integer{1} << -shift)
                                   : wide * (Integer{1} << shift));
  }
  return integers;
}

/// With `besides`, one code a row: of all code vectors unlike that one; -1 if there is none.
template <class Sum>
Answer nearest(const Values &latents, const Values &codebook, int exponent,
               const std::vector<std::int64_t> *besides) {
  const std::vector<Integer> z = on_grid(latents, exponent);
  const std::vector<Integer> y = on_grid(codebook, exponent);
  const auto dim = static_cast<std::size_t>(codebook.columns);
  Answer answer;
  for (std::size_t row = 0; row < static_cast<std::size_t>(latents.rows); ++row) {
    std::int64_t nearest = -1;
    Sum least;
    for (std::size_t code = 0; code < static_cast<std::size_t>(codebook.rows); ++code) {
      if (besides != nullptr) {
        const auto own = static_cast<std::size_t>((*besides)[row]);
        bool same = true;
        for (std::size_t d = 0; d < dim; ++d) same = same && y[code * dim + d] == y[own * dim + d];
        if (same) continue;
      }
      Sum sum;
      for (std::size_t d = 0; d < dim; ++d) sum.add_square(z[row * dim + d] - y[code * dim + d]);
      if (nearest >= 0 && !(sum < least)) continue;
      nearest = static_cast<std::int64_t>(code);
      least = sum;
    }
    answer.codes.push_back(nearest);
    answer.sqdist.push_back(std::ldexp(least.value(), 2 * exponent));
    answer.rounded.push_back(std::ldexp(least.nearest_double(), 2 * exponent));
  }
  return answer;
}

/// Throws std::range_error where the numbers span too many places: a case that cannot be judged.
inline Answer nearest(const Values &latents, const Values &codebook,
                      const std::vector<std::int64_t> *besides = nullptr) {
  Span span;
  span.include(latents);
  span.include(codebook);
  if (span.highest < span.lowest) span = {0, 0};  // zeros only
  const int bits = span.highest - span.lowest;
  if (codebook.columns > 1 << 10 || bits > Wide::kBits) {
    throw std::range_error("numbers over " + std::to_string(bits) + " places cannot be judged");
  }
  return bits <= Narrow::kBits ? nearest<Narrow>(latents, codebook, span.lowest, besides)
                               : nearest<Wide>(latents, codebook, span.lowest, besides);
}

}  // namespace certvq::reference
