/// The few nearest codes of each row in order, as far as float64 tells them apart.
///
/// In: a packed codebook and latents. Out: for each row its nearest distinct vectors and their squared
/// distances, or that they are open. One pass of the filter lists every code that can be among
/// them: by quantized_score_gap_le none scores below the threshold, as `count` codes that are not
/// farther score above it. Float64 orders these, where intervals that hold their distances are
/// apart; nothing else is decided here.

#pragma once

#include <cstdint>
#include <functional>

#include "packed.h"

namespace certvq {

constexpr int kMostRanked = 2 * kPad - 1;  // as many keys are sorted, and one more

/// Rows of `count` entries; what belongs to an open row is not set.
struct Ranked {
  std::int64_t *codes;       // the lowest of equal code vectors, of the user's codebook
  double *sqdist;            // of each
  std::uint8_t *decided_by;  // how the nearest was decided, one a row; 0 if the row is open
};

/// Rank the `count` nearest distinct vectors of every row, at most kMostRanked and as many as there
/// are. `interrupted` is asked, on the calling thread, a few times a second.
Refusal rank(const Packed &packed, const Matrix &latents, int count, int threads,
             const Ranked &results, const std::function<bool()> &interrupted);

}  // namespace certvq
