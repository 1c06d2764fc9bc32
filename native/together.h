/// An order of rows that brings neighbours together, so that a tile needs few panels of a sorted codebook.
///
/// In: rows of few dims. Out: an order. Nothing is decided by it.

#pragma once

#include <cstdint>
#include <vector>

namespace certvq {

/// Order rows, `stride` apart, by the cell of a grid that they lie in, with about as many rows in each
/// slice of it.
std::vector<std::int32_t> together(const double *rows, std::int64_t count, std::int64_t dim,
                                   std::int64_t stride);

}  // namespace certvq
