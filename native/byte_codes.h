/// The codes of a packed codebook as bytes, for the first pass.
///
/// In: a packed codebook. Out: panels of 8-bit integers, made when a call first needs them and shared
/// by many calls and threads afterwards.

#pragma once

#include <cstdint>
#include <memory>

#include "packed.h"

namespace certvq {

/// Distinct code vectors y as the integers nearest to scale * (y - centre), at most kByteCodeLimit.
struct ByteCodes {
  static constexpr std::int64_t kMostDim = 1024;  // so that offsets are exact in float32
  static constexpr double kMostRatio = 2.0;       // see FirstPass

  double scale = 0.0;             // units per length
  double residual = 0.0;          // the greatest fixed_point_residual of a code vector
  double part = 0.0;              // greatest norm of the entries that one 16-bit sum covers
  Panels panels{};                // views of what follows; a pair is a quad of bytes
  std::int64_t part_panels = 0;   // panels that share what is remembered of a row
  Aligned<std::int32_t> integers;  // (panels, quads, kBlocks, lanes)
  Aligned<std::int32_t> offsets;   // -|z|^2 / 2 in float32, in squared units of the codes

  std::size_t bytes() const { return integers.bytes() + offsets.bytes(); }
};

/// Return the codes as bytes; null if the first pass cannot be made with them.
std::unique_ptr<ByteCodes> byte_codes(const Packed &packed);

}  // namespace certvq
