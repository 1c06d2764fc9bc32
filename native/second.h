/// The nearest code of each row besides the one that it has, certified over the real numbers.
///
/// In: a packed codebook, latents and their codes. Out: one code a row, the lowest of those whose
/// exact distance is the least among all other distinct vectors. The filter lists every code that
/// is not farther than one that was found; float64 and exact integers decide among these.
/// Theorem: refine_sound; that the candidates are all is on paper (docs/guarantees.md).

#pragma once

#include <cstdint>
#include <functional>

#include "packed.h"

namespace certvq {

/// Find the second code of every row, as an index of the user's codebook: -1 where all code vectors
/// are equal. `codes` are in range and the lowest of equal vectors; throws std::invalid_argument if
/// one is not. `interrupted` is asked, on the calling thread, a few times a second.
Refusal second(const Packed &packed, const Matrix &latents, const std::int64_t *codes, int threads,
               std::int64_t *seconds, const std::function<bool()> &interrupted);

}  // namespace certvq
