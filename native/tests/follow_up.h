/// What follows from right codes, against exact integers and longer floats: second codes, squared
/// distances rounded once, stability radii, and the rivals that the checker's filter leaves.
///
/// In: latents, a codebook and the reference's answers. Out: the claims that do not hold.

#pragma once

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../checker/rivals.h"
#include "../packed.h"
#include "../ranking.h"
#include "../rounded.h"
#include "../second.h"
#include "../stability.h"
#include "reference.h"

namespace certvq::cases {

using reference::Answer;
using reference::Values;

/// Distance of each latent to the nearest border of its code's cell; infinite if there is none.
/// Larger than the true one only by what the slack below the first operation allows for.
inline std::vector<long double> borders(const Values &z, const Values &y, const Answer &answer) {
  std::vector<long double> result;
  for (std::int64_t row = 0; row < z.rows; ++row) {
    const std::int64_t own = answer.codes[static_cast<std::size_t>(row)];
    long double least = HUGE_VALL;
    for (std::int64_t code = 0; code < y.rows; ++code) {
      long double between = 0, product = 0, size = 0;
      for (std::int64_t d = 0; d < z.columns; ++d) {
        const long double step = static_cast<long double>(y.at(own, d)) - y.at(code, d);
        const long double there = static_cast<long double>(z.at(row, d)) - y.at(own, d);
        const long double away = static_cast<long double>(z.at(row, d)) - y.at(code, d);
        between += step * step;
        product += step * (there + away);
        size += std::fabs(step) * (std::fabs(there) + std::fabs(away));
      }
      if (between == 0) continue;
      const long double slack = size * 0x1p-60L * static_cast<long double>(z.columns + 8);
      least = std::min(least, (std::fabs(product) + slack) / (2 * std::sqrt(between)));
    }
    result.push_back(least);
  }
  return result;
}

struct FollowUp {
  const Matrix &latents;
  const Matrix &codebook;
  const Answer &nearest;
  Answer second;
  std::vector<long double> border;
  const Values &vectors;  // the codebook's

  bool equal(std::int64_t code, std::int64_t other) const {
    const double *first = vectors.entries.data();
    return std::equal(first + code * vectors.columns, first + (code + 1) * vectors.columns,
                      first + other * vectors.columns);
  }

  std::vector<std::string> broken(const Isa &isa, int threads) const {
    std::vector<std::string> claims;
    const auto never = [] { return false; };
    const auto rows = static_cast<std::size_t>(latents.rows);
    const std::int64_t *codes = nearest.codes.data();
    std::unique_ptr<double[]> sqdist(new double[rows]), radii(new double[rows]);
    std::unique_ptr<std::int64_t[]> seconds(new std::int64_t[rows]);
    const auto packed = pack(codebook, isa);
    if (rounded_sqdists(isa, latents, codebook, codes, threads, sqdist.get(), never) != Refusal::kNone ||
        certvq::second(*packed, latents, codes, threads, seconds.get(), never) != Refusal::kNone ||
        stability(*packed, latents, codes, threads, radii.get(), never) != Refusal::kNone) {
      return {"refused"};
    }
    for (std::size_t row = 0; row < rows; ++row) {
      const std::string name = " of row " + std::to_string(row);
      if (sqdist[row] != nearest.rounded[row]) claims.push_back("rounded squared distance" + name);
      if (seconds[row] != second.codes[row]) claims.push_back("second code" + name);
      if (!(radii[row] >= 0.0 && radii[row] <= border[row])) claims.push_back("radius" + name);
    }
    for (const std::string &claim : broken_by_rank(*packed, threads)) claims.push_back(claim);
    return claims;
  }

  /// Rows that are not open have their nearest and second code, and the others after them.
  std::vector<std::string> broken_by_rank(const Packed &packed, int threads) const {
    std::vector<std::string> claims;
    const auto rows = static_cast<std::size_t>(latents.rows);
    for (const int most : {1, 2, kMostRanked}) {
      const auto count = static_cast<int>(std::min<std::int64_t>(most, packed.distinct));
      const auto places = static_cast<std::size_t>(count);
      std::unique_ptr<std::int64_t[]> codes(new std::int64_t[rows * places]);
      std::unique_ptr<double[]> sqdist(new double[rows * places]);
      std::unique_ptr<std::uint8_t[]> decided_by(new std::uint8_t[rows]);
      const Ranked ranked{codes.get(), sqdist.get(), decided_by.get()};
      if (rank(packed, latents, count, threads, ranked, [] { return false; }) != Refusal::kNone) {
        return {"rank: refused"};
      }
      for (std::size_t row = 0; row < rows; ++row) {
        if (decided_by[row] == 0) continue;
        const std::int64_t *own = codes.get() + row * places;
        const double *distances = sqdist.get() + row * places;
        const std::set<std::int64_t> distinct(own, own + places);
        if (own[0] != nearest.codes[row] || (count > 1 && own[1] != second.codes[row]) ||
            distinct.size() != places || !std::is_sorted(distances, distances + places)) {
          claims.push_back("rank of row " + std::to_string(row));
        }
      }
    }
    return claims;
  }

  std::vector<std::string> broken_by_checker(int threads) const {
    std::vector<std::string> claims = kept_by_checker(threads, nearest.codes, nullptr);
    if (codebook.rows < 2) return claims;
    for (std::string &claim : kept_by_checker(threads, second.codes, nearest.codes.data())) {
      claims.push_back("second " + claim);
    }
    return claims;
  }

  /// Given wrong codes, the filter of the checker keeps the right one among its rivals. With codes
  /// besides, right are the nearest ones whose vectors are unlike theirs.
  std::vector<std::string> kept_by_checker(int threads, const std::vector<std::int64_t> &right,
                                           const std::int64_t *besides) const {
    namespace checker = certvq_checker;
    const auto translated = [](const Matrix &matrix) {
      const checker::Number numbers[] = {checker::Number::kFloat64, checker::Number::kFloat32,
                                         checker::Number::kBfloat16, checker::Number::kFloat16};
      return checker::Matrix{matrix.data, numbers[static_cast<int>(matrix.number)], matrix.rows,
                             matrix.columns, matrix.row_stride, matrix.column_stride};
    };
    std::vector<std::string> claims;
    std::vector<std::int64_t> codes = right;
    for (std::size_t row = 0; row < codes.size(); row += 2) {
      codes[row] = static_cast<std::int64_t>(row) * 7 % codebook.rows;
    }
    for (std::size_t row = 0; besides != nullptr && row < codes.size(); ++row) {
      if (right[row] < 0) codes[row] = (besides[row] + 1) % codebook.rows;  // all are equal
      else if (equal(codes[row], besides[row])) codes[row] = right[row];
    }
    for (int level = 0; level < checker::kLevelCount; ++level) {
      if (!checker::kLevels[level]->supported()) continue;
      checker::Found found;
      if (!checker::find_rivals(translated(latents), translated(codebook), codes.data(), besides, threads,
                                *checker::kLevels[level], 1.0, [] { return false; }, found)) {
        continue;  // extreme numbers: all of it is left to finer arithmetic
      }
      const std::set<std::int64_t> given_up(found.given_up.begin(), found.given_up.end());
      std::set<std::pair<std::int64_t, std::int64_t>> pairs;
      for (std::size_t pair = 0; pair < found.row.size(); ++pair) {
        pairs.insert({found.row[pair], found.rival[pair]});
      }
      for (std::size_t row = 0; row < codes.size(); ++row) {
        const auto place = static_cast<std::int64_t>(row);
        if (right[row] < 0 || codes[row] == right[row] || given_up.count(place) != 0 ||
            pairs.count({place, right[row]}) != 0) {
          continue;
        }
        claims.push_back(std::string("rival of row ") + std::to_string(row) + " at level " +
                         checker::kLevels[level]->name);
      }
    }
    return claims;
  }
};

}  // namespace certvq::cases
