/// A codebook along few axes, and blocks of latents beside it, for the first pass.
///
/// Latents of a model often lie near few directions. In: a packed codebook. Out: its codes as points of
/// kPad numbers, which are their parts along orthonormal axes and how far they are from the span of these;
/// made when a call first needs them and shared by many calls and threads afterwards; and the form of a
/// thread's blocks. No two points are farther apart than their vectors: bounds::axes_distance.

#pragma once

#include <cstdint>
#include <memory>

#include "coarse.h"
#include "packed.h"

namespace certvq {

struct AxisCodes {
  Aligned<double> axes;            // (kPad, stride): unit vectors or zero; the last is zero
  std::unique_ptr<Packed> points;  // of the codes, in their order
  double radius = 0.0;             // the greatest distance of a code vector to the centre

  std::size_t bytes() const { return axes.bytes() + points->bytes(); }
  /// Write the point of each row, whose squared distance to the centre is known.
  void project(const Packed &packed, const double *rows, std::int64_t count, const double *squares,
               double *out) const;
};

/// Return the codes along axes; null if few axes say little of them.
std::unique_ptr<AxisCodes> axis_codes(const Packed &packed);

class AxisForm final : public Coarse {
 public:
  AxisForm(const Packed &packed, const AxisCodes &codes);

  const Panels &panels() const override { return codes_.points->panels; }
  std::int64_t part_panels() const override { return panels().count; }
  bool round(const Block &block) override;
  void scan(std::int64_t rows, std::int64_t begin, std::int64_t first, std::int64_t last,
            std::int32_t *best) const override;
  void limit(const Block &block, const double *reach, std::int32_t *thresholds) override;
  void moved(std::int64_t rows, double *out) const override;
  bool collect(std::int64_t row, std::int32_t threshold, std::int64_t first, std::int64_t last,
               Pairs &pairs) const override;
  double saved() const override;

 private:
  const Packed &packed_;
  const AxisCodes &codes_;
  Block points_;
  Aligned<double> reach_;  // (block,)
};

}  // namespace certvq
