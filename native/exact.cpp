#include "exact.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace certvq {
namespace {

constexpr int kMantissa = 53;

int bit_length(std::int64_t value) { return value == 0 ? 0 : 64 - __builtin_clzll(value); }

using Wide = __int128;

/// |x - a|^2 - |x - b|^2 where it fits 128 bits.
int compare_128(const double *x, const double *a, const double *b, std::int64_t dim, int exponent) {
  Wide total = 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    const auto z = static_cast<std::int64_t>(std::ldexp(x[d], -exponent));
    const Wide u = z - static_cast<std::int64_t>(std::ldexp(a[d], -exponent));
    const Wide v = z - static_cast<std::int64_t>(std::ldexp(b[d], -exponent));
    total += u * u - v * v;
  }
  return total > 0 ? 1 : total < 0 ? -1 : 0;
}

/// Natural numbers of a fixed number of 32-bit limbs, lowest first.
using Natural = std::vector<std::uint32_t>;

Natural magnitude(double value, int exponent, std::size_t limbs) {
  Natural result(limbs, 0);
  if (value == 0.0) return result;
  int own;
  const double mantissa = std::frexp(std::fabs(value), &own);
  auto integer = static_cast<std::uint64_t>(std::ldexp(mantissa, kMantissa));
  int shift = own - kMantissa - exponent;  // negative only where the low bits are zero
  if (shift < 0) {
    integer >>= -shift;
    shift = 0;
  }
  const unsigned __int128 placed = static_cast<unsigned __int128>(integer) << (shift % 32);
  for (std::size_t limb = 0; limb < 3; ++limb) {
    const auto part = static_cast<std::uint32_t>(placed >> (32 * limb));
    if (part != 0) result[static_cast<std::size_t>(shift) / 32 + limb] = part;
  }
  return result;
}

int compare(const Natural &a, const Natural &b) {
  for (std::size_t limb = a.size(); limb-- > 0;) {
    if (a[limb] != b[limb]) return a[limb] < b[limb] ? -1 : 1;
  }
  return 0;
}

Natural subtract(const Natural &greater, const Natural &less) {
  Natural result(greater.size());
  std::int64_t borrow = 0;
  for (std::size_t limb = 0; limb < greater.size(); ++limb) {
    const std::int64_t value =
        static_cast<std::int64_t>(greater[limb]) - static_cast<std::int64_t>(less[limb]) - borrow;
    borrow = value < 0;
    result[limb] = static_cast<std::uint32_t>(value);
  }
  return result;
}

void add(Natural &sum, const Natural &other, std::size_t place) {
  std::uint64_t carry = 0;
  for (std::size_t limb = 0; limb + place < sum.size(); ++limb) {
    const std::uint64_t term = limb < other.size() ? other[limb] : 0;
    if (term == 0 && carry == 0 && limb >= other.size()) return;
    carry += sum[limb + place] + term;
    sum[limb + place] = static_cast<std::uint32_t>(carry);
    carry >>= 32;
  }
}

Natural difference(double x, double y, int exponent, std::size_t limbs) {
  const Natural a = magnitude(x, exponent, limbs);
  const Natural b = magnitude(y, exponent, limbs);
  if (std::signbit(x) != std::signbit(y)) {
    Natural result = a;
    add(result, b, 0);
    return result;
  }
  return compare(a, b) >= 0 ? subtract(a, b) : subtract(b, a);
}

void add_square(Natural &sum, const Natural &root) {
  for (std::size_t i = 0; i < root.size(); ++i) {
    if (root[i] == 0) continue;
    Natural row(root.size() + 1, 0);
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < root.size(); ++j) {
      carry += static_cast<std::uint64_t>(root[i]) * root[j];
      row[j] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    row[root.size()] = static_cast<std::uint32_t>(carry);
    add(sum, row, i);
  }
}

Natural squared_distance(const double *x, const double *y, std::int64_t dim, const Grid &grid) {
  const std::size_t limbs = static_cast<std::size_t>(grid.bits() + 1) / 32 + 3;
  Natural sum(2 * limbs + 3, 0);
  for (std::int64_t d = 0; d < dim; ++d) add_square(sum, difference(x[d], y[d], grid.exponent(), limbs));
  return sum;
}

}  // namespace

void Grid::include(const double *numbers, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (numbers[i] == 0.0) continue;
    int exponent;
    const double mantissa = std::frexp(std::fabs(numbers[i]), &exponent);
    const auto integer = static_cast<std::uint64_t>(std::ldexp(mantissa, kMantissa));
    lowest_ = std::min(lowest_, exponent - kMantissa + __builtin_ctzll(integer));
    highest_ = std::max(highest_, exponent);
  }
}

int compare_distances(const double *x, const double *a, const double *b, std::int64_t dim) {
  Grid grid;
  for (const double *vector : {x, a, b}) grid.include(vector, dim);
  if (2 * (grid.bits() + 1) + bit_length(dim) <= 126 && grid.bits() <= 61) {
    return compare_128(x, a, b, dim, grid.exponent());
  }
  return compare(squared_distance(x, a, dim, grid), squared_distance(x, b, dim, grid));
}

void ExactRow::consider(const double *vector, std::int64_t place, std::int64_t index) {
  if (nearest_ >= 0) {
    const int sign = compare_distances(latent_, vector, vector_.data(), dim_);
    if (sign > 0 || (sign == 0 && index > index_)) return;
  }
  vector_.assign(vector, vector + dim_);
  nearest_ = place;
  index_ = index;
}

}  // namespace certvq
