/// Cells of scalars: for every feature of every latent, how many of its limits are less than it.
///
/// In: latents, and for each feature increasing limits, one more vector entries than those, and how
/// many values its digit has. Out: the entries of the cells, and the digits as one integer. Numbers
/// are compared and nothing is computed from them, so that there is no rounding.
/// Theorem: grid_round_isNearestCode, for limits that are the borders between levels.

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "rows.h"
#include "worker.h"

namespace certvq {

/// The axes of a grid, D of them; `limits` and `entries` are contiguous.
struct Axes {
  const void *limits;   // (D, most) of the latents' number, increasing; +inf ends short rows
  std::int64_t most;    // may be 0
  const void *entries;  // (D, most + 1), of any type of 2, 4 or 8 bytes
  std::int64_t entry_bytes;
  std::vector<std::int64_t> levels;  // (D,), at least 1 each; their product at most 2^63
};

/// What is written; both are contiguous.
struct Rounded {
  void *vectors;        // (N, D) of the entries' type
  std::int64_t *codes;  // (N,): digit 0 + level 0 * (digit 1 + level 1 * (...))
};

/// Do all rows of float32 or float64 latents, which have one column for each axis. Add to `lowest`
/// how many digits are 0. `interrupted` is asked, on the calling thread, a few times a second.
Refusal round_to_grid(const Axes &axes, const Matrix &latents, int threads, const Rounded &results,
                      std::int64_t &lowest, const std::function<bool()> &interrupted);

}  // namespace certvq
