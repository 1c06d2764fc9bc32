/// Digits of scalars, found one by one: what `round_to_grid` has to write.
///
/// In: random axes and latents, many of them on a limit or next to one. Out: what is wrong, "" if
/// nothing is.

#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "../cells.h"
#include "cases.h"

namespace certvq::grids {

using cases::Random;
using cases::Stored;
using reference::Values;

/// Limits as doubles, those that are none infinite; increasing in each row.
struct Grid {
  Values limits;
  std::vector<std::int64_t> levels;
};

inline Grid draw_grid(Random &random, std::int64_t dim, std::int64_t most, Number number) {
  Grid grid{{dim, most, std::vector<double>(static_cast<std::size_t>(dim * most), HUGE_VAL)}, {}};
  double values = 0x1p63;  // that are left for the other digits
  for (std::int64_t d = 0; d < dim; ++d) {
    const std::int64_t size = std::min<std::int64_t>(random.between(0, most), static_cast<std::int64_t>(values / 2) - 1);
    double limit = random.normal() * 4;
    for (std::int64_t k = 0; k < size; ++k) {
      char place[8];
      grid.limits.at(d, k) = cases::put(place, number, limit);
      limit += std::ldexp(1.0 + std::fabs(random.normal()), static_cast<int>(random.between(-6, 3)));
    }
    grid.levels.push_back(std::max<std::int64_t>(size, 0) + 1);
    values /= static_cast<double>(grid.levels.back());
  }
  return grid;
}

/// Latents, two in three of which lie on a limit or are the next number to one.
inline Values draw_latents(Random &random, std::int64_t rows, const Grid &grid, Number number) {
  Values latents = cases::draw(random, rows, grid.limits.rows, 8.0);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t d = 0; d < latents.columns; ++d) {
      const std::int64_t levels = grid.levels[static_cast<std::size_t>(d)];
      const std::int64_t kind = random.between(0, 5);
      if (kind > 3 || levels < 2) continue;
      const double limit = grid.limits.at(d, random.between(0, levels - 2));
      const double beside = kind == 2 ? HUGE_VAL : -HUGE_VAL;
      latents.at(row, d) = kind < 2 ? limit
                           : number == Number::kFloat64
                               ? std::nextafter(limit, beside)
                               : static_cast<double>(std::nextafter(static_cast<float>(limit),
                                                                    static_cast<float>(beside)));
    }
  }
  return latents;
}

/// `spoilt` moves one limit, which has to be noticed.
template <class Real, class Entry>
std::string wrong(Random &random, Number number, int threads, bool spoilt) {
  const std::int64_t dim = random.between(1, 9), most = random.between(spoilt ? 1 : 0, 90);
  const std::int64_t rows = random.among({1, 7, 300, 5000});
  const Grid grid = draw_grid(random, dim, most, number);
  const auto layout = static_cast<cases::Layout>(random.between(0, cases::kLayouts - 1));
  const Stored latents = cases::store(draw_latents(random, rows, grid, number), number, layout);
  std::vector<Real> limits(grid.limits.entries.begin(), grid.limits.entries.end());
  std::vector<Entry> entries;
  for (std::int64_t place = 0; place < dim * (most + 1); ++place) {
    entries.push_back(static_cast<Entry>(random.bits()));
  }
  std::unique_ptr<Entry[]> vectors(new Entry[static_cast<std::size_t>(rows * dim)]);
  std::unique_ptr<std::int64_t[]> codes(new std::int64_t[static_cast<std::size_t>(rows)]);
  std::int64_t lowest = 0, zeros = 0;
  if (spoilt) std::fill(limits.begin(), limits.end(), static_cast<Real>(HUGE_VAL));
  const Axes axes{limits.data(), most, entries.data(), sizeof(Entry), grid.levels};
  const Rounded results{vectors.get(), codes.get()};
  const Refusal refusal =
      round_to_grid(axes, latents.matrix, threads, results, lowest, [] { return false; });
  if (refusal != Refusal::kNone) return "refusal";
  for (std::int64_t row = 0; row < rows; ++row) {
    std::uint64_t code = 0, place = 1;
    for (std::int64_t d = 0; d < dim; ++d) {
      std::int64_t digit = 0;
      for (std::int64_t k = 0; k < most; ++k) digit += grid.limits.at(d, k) < latents.values.at(row, d);
      const Entry entry = entries[static_cast<std::size_t>(d * (most + 1) + digit)];
      if (vectors[static_cast<std::size_t>(row * dim + d)] != entry) return "entry";
      code += place * static_cast<std::uint64_t>(digit);
      place *= static_cast<std::uint64_t>(grid.levels[static_cast<std::size_t>(d)]);
      zeros += digit == 0;
    }
    if (codes[static_cast<std::size_t>(row)] != static_cast<std::int64_t>(code)) return "code";
  }
  return lowest == zeros ? "" : "number of lowest digits";
}

/// Two types of numbers, three sizes of entries.
inline std::string wrong(Random &random, int index, bool spoilt = false) {
  const int threads = 1 + index % 3;
  switch (index % 4) {
    case 0:
      return wrong<double, std::uint16_t>(random, Number::kFloat64, threads, spoilt);
    case 1:
      return wrong<double, std::uint64_t>(random, Number::kFloat64, threads, spoilt);
    case 2:
      return wrong<float, std::uint32_t>(random, Number::kFloat32, threads, spoilt);
    default:
      return wrong<float, std::uint16_t>(random, Number::kFloat32, threads, spoilt);
  }
}

}  // namespace certvq::grids
