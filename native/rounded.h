/// Squared distances to given code vectors, rounded once: the float64 nearest to the true value.
///
/// In: latents, a codebook and a code for each latent, of any float type and any magnitude. Out: one
/// double a row; ties of rounding to even, infinite where float64 ends, subnormal where it must be.
/// Theorem: dot_rounding_error_le decides nearly every row, a sum of all bits the rest.

#pragma once

#include <cstdint>
#include <functional>

#include "isa.h"
#include "packed.h"

namespace certvq {

/// Round |x - y|^2 of two rows of `padded(dim)` doubles, the padding zero. NaN where an entry is NaN
/// or two infinite ones meet.
double rounded_sqdist(const Isa &isa, const double *x, const double *y, std::int64_t dim);

/// The same by the sum of all bits alone, which is slower: for the rows that are left, and tests.
double summed_sqdist(const double *x, const double *y, std::int64_t dim);

/// Round the squared distance of every latent to the code vector of its code. `codes` are in range,
/// and both matrices have the same number of columns. `interrupted` is asked, on the calling thread,
/// a few times a second.
Refusal rounded_sqdists(const Isa &isa, const Matrix &latents, const Matrix &codebook,
                        const std::int64_t *codes, int threads, double *sqdist,
                        const std::function<bool()> &interrupted);

}  // namespace certvq
