/// The last word between code vectors whose squared distances overlap: exact integers.
///
/// In: a latent and a few candidates as exact doubles. Out: the lowest one at the least distance.
/// Doubles are dyadic rationals, so over a common power of two everything is an integer.

#pragma once

#include <cstdint>
#include <vector>

namespace certvq {

/// Compares distances from one latent; remembers the nearest candidate so far.
class ExactRow {
 public:
  ExactRow(const double *latent, std::int64_t dim) : latent_(latent), dim_(dim) {}

  /// Take a candidate into account. Candidates may come in any order.
  void consider(const double *vector, std::int64_t index);

  /// The lowest index among the nearest of those considered, -1 if there was none.
  std::int64_t nearest() const { return nearest_; }

 private:
  const double *latent_;
  std::int64_t dim_;
  std::int64_t nearest_ = -1;
  std::vector<double> vector_;  // of the nearest
};

/// Return the sign of |x - a|^2 - |x - b|^2 over the real numbers.
int compare_distances(const double *x, const double *a, const double *b, std::int64_t dim);

}  // namespace certvq
