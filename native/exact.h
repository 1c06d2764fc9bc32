/// The last word between code vectors whose squared distances overlap: exact integers.
///
/// In: a latent and a few candidates as exact doubles. Out: the lowest one at the least distance.
/// Doubles are dyadic rationals, so over a common power of two everything is an integer.

#pragma once

#include <cstdint>
#include <vector>

namespace certvq {

/// A power of two of which all included numbers are multiples, and how many bits they take.
class Grid {
 public:
  void include(const double *numbers, std::int64_t count);
  int exponent() const { return empty() ? 0 : lowest_; }
  int bits() const { return empty() ? 1 : highest_ - lowest_; }
  bool empty() const { return lowest_ > highest_; }

 private:
  int lowest_ = INT32_MAX;
  int highest_ = INT32_MIN;
};

/// Compares distances from one latent; remembers the nearest candidate so far.
class ExactRow {
 public:
  ExactRow(const double *latent, std::int64_t dim) : latent_(latent), dim_(dim) {}

  /// Take a candidate into account: its vector, its place and the index that decides ties.
  void consider(const double *vector, std::int64_t place, std::int64_t index);

  /// The place of the lowest among the nearest of those considered, -1 if there was none.
  std::int64_t nearest() const { return nearest_; }

 private:
  const double *latent_;
  std::int64_t dim_;
  std::int64_t nearest_ = -1;
  std::int64_t index_ = -1;
  std::vector<double> vector_;  // of the nearest
};

/// Return the sign of |x - a|^2 - |x - b|^2 over the real numbers.
int compare_distances(const double *x, const double *a, const double *b, std::int64_t dim);

}  // namespace certvq
