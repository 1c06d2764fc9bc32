/// Passes of k-means against right codes and exact sums.
///
/// In: latents, a codebook and the reference's codes. Out: the claims that do not hold.

#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "../lloyd.h"
#include "reference.h"

namespace certvq::cases {

using reference::Answer;
using reference::Values;

/// A pass from nothing, one after no move, one in which every row is in doubt, and one in which all
/// codes are lost: the same codes; and sums in which every row is counted once.
struct Passes {
  const Matrix &latents;
  const Matrix &codebook;
  const Answer &nearest;
  const Values &values;  // of the latents

  std::vector<std::string> broken(const Isa &isa, int threads) const {
    std::vector<std::string> claims;
    const auto packed = pack(codebook, isa);
    if (packed->refusal != Refusal::kNone) return claims;
    const auto rows = static_cast<std::size_t>(latents.rows);
    const auto size = static_cast<std::size_t>(codebook.rows);
    const std::size_t plane = size * static_cast<std::size_t>(latents.columns);
    std::vector<std::int64_t> codes(rows, -1), digits(kPlaces * plane), counts(size);
    std::vector<float> leads(rows, -HUGE_VALF), lowers(rows, -HUGE_VALF);
    std::vector<double> drift(size, 0.0), others(size, 0.0);
    const CellSums sums{digits.data(), counts.data(), kPlaces, kLowest, kBits};
    const Known known{codes.data(), leads.data(), lowers.data(), drift.data(), others.data()};
    const auto never = [] { return false; };
    bool on_grid = true;
    for (const char *name : {"first", "still", "doubtful"}) {
      if (*name == 'd') drift.assign(size, HUGE_VAL), others.assign(size, HUGE_VAL);
      const Looked looked = look(*packed, latents, known, nullptr, sums, nullptr, threads, never);
      if (looked == Looked::kRefused) return claims;
      if (codes != nearest.codes) claims.push_back(std::string(name) + " pass: codes");
      on_grid = on_grid && looked == Looked::kDone;
      if (on_grid && !summed(digits, counts, codes)) {
        claims.push_back(std::string(name) + " pass: sums");
      }
    }
    codes.assign(rows, codebook.rows);
    if (rows > 0 && look(*packed, latents, known, nullptr, sums, nullptr, threads, never) != Looked::kRefused) {
      claims.push_back("codes out of range");
    }
    return claims;
  }

 private:
  static constexpr std::int64_t kPlaces = 5;
  static constexpr int kLowest = -60;
  static constexpr int kBits = 80;

  /// Compare modulo 2^128, in which the sums of these few rows fit.
  bool summed(const std::vector<std::int64_t> &digits, const std::vector<std::int64_t> &counts,
              const std::vector<std::int64_t> &codes) const {
    const std::size_t plane = digits.size() / kPlaces;
    std::vector<__int128> expected(plane, 0);
    std::vector<std::int64_t> rows(counts.size(), 0);
    for (std::int64_t row = 0; row < latents.rows; ++row) {
      const std::int64_t code = codes[static_cast<std::size_t>(row)];
      ++rows[static_cast<std::size_t>(code)];
      for (std::int64_t d = 0; d < latents.columns; ++d) {
        expected[static_cast<std::size_t>(code * latents.columns + d)] +=
            static_cast<__int128>(std::ldexp(values.at(row, d), -kLowest));
      }
    }
    for (std::size_t place = 0; place < plane; ++place) {
      unsigned __int128 sum = 0;
      for (std::int64_t digit = 3; digit >= 0; --digit) {
        sum = (sum << 32) + static_cast<std::uint64_t>(digits[static_cast<std::size_t>(digit) * plane + place]);
      }
      if (sum != static_cast<unsigned __int128>(expected[place])) return false;
    }
    return rows == counts;
  }
};

}  // namespace certvq::cases
