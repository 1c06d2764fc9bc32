/// How far each row may move before its code can change: a proved lower bound, in one pass.
///
/// In: a packed codebook, latents and their codes. Out: one radius a row. The filter finds the codes
/// whose borders can be the nearest; float64 with proved errors measures the distance to these.
/// Theorem: isNearestCode_of_small_perturbation.

#pragma once

#include <cstdint>
#include <functional>

#include "packed.h"

namespace certvq {

/// Bound every row. `codes` are indices of the user's codebook, in range. `interrupted` is asked, on
/// the calling thread, a few times a second.
Refusal stability(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
                  int threads, double *radii, const std::function<bool()> &interrupted);

}  // namespace certvq
