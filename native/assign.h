/// Nearest codes of many rows, certified over the real numbers, on several threads.
///
/// In: a packed codebook and latents. Out: one code, one way of decision and one squared distance a
/// row. Theorem: certified_assign.

#pragma once

#include <functional>

#include "packed.h"
#include "worker.h"

namespace certvq {

/// Decide every row. `interrupted` is asked, on the calling thread, a few times a second.
Refusal assign(const Packed &packed, const Matrix &latents, int threads, const Results &results,
               const std::function<bool()> &interrupted);

/// Whether this thread rounds to nearest and keeps subnormal numbers.
bool ieee754();

}  // namespace certvq
