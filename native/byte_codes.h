/// The codes of a packed codebook as bytes, and blocks of latents beside them, for the first pass.
///
/// In: a packed codebook. Out: panels of 8-bit integers, made when a call first needs them and shared
/// by many calls and threads afterwards; and the form of a thread's blocks.

#pragma once

#include <cstdint>
#include <memory>

#include "coarse.h"
#include "packed.h"

namespace certvq {

/// Distinct code vectors y as the integers nearest to scale * (y - centre), at most kByteCodeLimit.
struct ByteCodes {
  static constexpr std::int64_t kMostDim = 1024;  // so that offsets are exact in float32
  static constexpr double kMostRatio = 2.0;       // see ByteForm

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

class ByteForm final : public Coarse {
 public:
  ByteForm(const Packed &packed, const ByteCodes &codes);

  const Panels &panels() const override { return codes_.panels; }
  std::int64_t part_panels() const override { return codes_.part_panels; }
  bool round(const Block &block) override;
  void scan(std::int64_t rows, std::int64_t begin, std::int64_t first, std::int64_t last,
            std::int32_t *best) const override;
  void limit(const Block &block, const double *reach, std::int32_t *thresholds) override;
  void moved(std::int64_t rows, double *out) const override;
  bool collect(std::int64_t row, std::int32_t threshold, std::int64_t first, std::int64_t last,
               Pairs &pairs) const override;
  double saved() const override;

 private:
  ByteScan described(std::int64_t rows, std::int64_t begin, std::int32_t *best) const {
    return {integers_.data(), starts_.data(), ratios_.data(), rows, best, begin};
  }
  Quantized quantized() const {
    return {norms_.data(), residuals_.data(), scales_.data(), codes_.scale, codes_.residual,
            static_cast<double>(packed_.dim), packed_.widen};
  }

  const Packed &packed_;
  const ByteCodes &codes_;
  const ByteIsa &bytes_;
  std::int64_t chunks_;             // of a row
  Aligned<std::int32_t> integers_;  // (block, quads)
  Aligned<std::int32_t> starts_;    // (block, chunks)
  Aligned<float> ratios_;           // (block,), as the following
  Aligned<double> residuals_;
  Aligned<double> norms_;
  Aligned<double> scales_;  // one a tile
};

}  // namespace certvq
