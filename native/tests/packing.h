/// What a packed codebook has to hold, computed anew in the plainest way.
///
/// In: a codebook and what was packed of it. Out: what is wrong with it, "" if nothing is.

#pragma once

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../bounds.h"
#include "../packed.h"
#include "cases.h"

namespace certvq::packing {

using reference::Values;

/// The entry of a code vector in the panels, as `Panels` describes them.
inline std::int16_t integer(const Packed &packed, std::int64_t code, std::int64_t d) {
  const std::int64_t lanes = packed.isa->lanes, codes = kBlocks * lanes, within = code % codes;
  const std::int64_t pair = code / codes * packed.panels.pairs + d / 2;
  const std::int64_t lane = (pair * kBlocks + within % kBlocks) * lanes + within / kBlocks;
  return packed.panels.integers[lane * 2 + d % 2];
}

inline std::int32_t offset(const Packed &packed, std::int64_t code) {
  const std::int64_t lanes = packed.isa->lanes, codes = kBlocks * lanes, within = code % codes;
  return packed.panels.offsets[(code / codes * kBlocks + within % kBlocks) * lanes + within / kBlocks];
}

/// The lowest index of each vector; 0 and -0 are equal.
inline std::map<std::vector<double>, std::int64_t> fold(const Values &codebook) {
  std::map<std::vector<double>, std::int64_t> lowest;
  for (std::int64_t code = 0; code < codebook.rows; ++code) {
    std::vector<double> vector;
    for (std::int64_t d = 0; d < codebook.columns; ++d) vector.push_back(codebook.at(code, d));
    lowest.emplace(std::move(vector), code);
  }
  return lowest;
}

inline std::string wrong_vectors(const Packed &packed, const Values &codebook) {
  const auto lowest = fold(codebook);
  if (packed.distinct != static_cast<std::int64_t>(lowest.size())) return "number of distinct vectors";
  std::vector<double> read(static_cast<std::size_t>(packed.stride));
  for (std::int64_t code = 0; code < packed.distinct; ++code) {
    packed.read_vector(code, read.data());
    for (std::int64_t d = 0; d < packed.stride; ++d) {
      const double value = read[static_cast<std::size_t>(d)];
      if (d >= packed.dim && value != 0.0) return "padding of a vector";
      if (value == 0.0 && std::signbit(value)) return "negative zero";
    }
    const auto found = lowest.find({read.begin(), read.begin() + packed.dim});
    if (found == lowest.end() || found->second != packed.index(code)) return "vector or its index";
    if (!packed.sorted && code > 0 && packed.index(code - 1) >= packed.index(code)) return "order";
  }
  return "";
}

inline std::string wrong_panels(const Packed &packed) {
  const double *centre = packed.centre.data();
  std::vector<double> read(static_cast<std::size_t>(packed.stride));
  long double most_left = 0;
  for (std::int64_t code = 0; code < packed.panels.count * kBlocks * packed.isa->lanes; ++code) {
    const bool padding = code >= packed.distinct;
    if (!padding) packed.read_vector(code, read.data());  // the padding has copies of the last one
    long double way = 0, left = 0;
    double norm = 0.0;
    for (std::int64_t d = 0; d < 2 * packed.panels.pairs; ++d) {
      const double y = read[static_cast<std::size_t>(d)];
      const double exact = (y - centre[d]) * packed.scale, rounded = std::nearbyint(exact);
      if (integer(packed, code, d) != rounded) return "integer";
      norm += rounded * rounded;
      left += static_cast<long double>(exact - rounded) * (exact - rounded);
      way += static_cast<long double>(exact) * exact;
    }
    const auto half = static_cast<std::int32_t>((norm + 1.0) * 0.5);
    if (offset(packed, code) != -half - (padding ? kPaddingMark : 0)) return "offset";
    if (std::sqrt(way) > bounds::FIXED_POINT_NORM * (1 + 0x1p-50L)) return "scale";
    most_left = std::max(most_left, left);
  }
  if (std::sqrt(most_left) > packed.code_residual * (1 + 0x1p-50L)) return "residual";
  return "";
}

inline std::string wrong(const Packed &packed, const Values &codebook) {
  if (packed.refusal != Refusal::kNone) return "refusal";
  const std::string vectors = wrong_vectors(packed, codebook);
  return vectors.empty() ? wrong_panels(packed) : vectors;
}

/// Whether two were quantized alike, whatever the instruction set.
inline bool alike(const Packed &a, const Packed &b) {
  const auto bytes = static_cast<std::size_t>(a.stride) * sizeof(double);
  return a.distinct == b.distinct && a.scale == b.scale && a.code_residual == b.code_residual &&
         std::memcmp(a.centre.data(), b.centre.data(), bytes) == 0;
}

}  // namespace certvq::packing
