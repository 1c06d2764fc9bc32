/// Which rows come nearer to a code when a vector is added, and how near.
///
/// In: rows of any float type, their squared distances so far, new vectors. Out: for each vector the
/// rows that are nearer to it, with squared distances that are rounded once. Theorems:
/// isNearestCode_of_small_perturbation leaves out rows that are half as far from their own vector as
/// that is from the new ones; dot_rounding_error_le, by way of closer.h and bounds::farther_factor,
/// excludes most others.

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "isa.h"
#include "packed.h"

namespace certvq {

struct Approach {
  std::int64_t row;
  double sqdist;
};

/// What is known of the rows so far.
struct Nearest {
  const double *sqdist;       // (rows,), rounded once
  const std::int32_t *owner;  // (rows,), to which vector that is; others than (owners,) are unknown
  Matrix owners;              // float64
};

/// List for each of the vectors, which are finite as the rows are, the rows whose rounded squared
/// distance is below `sqdist`, in ascending order. `found` has one list a vector. `interrupted` is
/// asked, on the calling thread, a few times a second.
Refusal approaches(const Isa &isa, const Matrix &rows, const Nearest &nearest, const Matrix &vectors,
                   int threads, std::vector<std::vector<Approach>> &found,
                   const std::function<bool()> &interrupted);

}  // namespace certvq
