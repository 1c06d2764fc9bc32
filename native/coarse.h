/// What a first pass compares: integers that are coarser than the filter's, or fewer.
///
/// In: a block of latents that was examined. Out: scores of groups of codes, and the score that every
/// code within some distance reaches. Abstract: see byte_codes.h and axis_codes.h.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "block.h"

namespace certvq {

class Coarse {
 public:
  Coarse() = default;
  Coarse(const Coarse &) = delete;
  Coarse &operator=(const Coarse &) = delete;
  virtual ~Coarse() = default;

  virtual const Panels &panels() const = 0;
  /// Panels that share what is remembered of a row.
  virtual std::int64_t part_panels() const = 0;

  /// Round the rows of a block; false if they are out of range.
  virtual bool round(const Block &block) = 0;
  /// Compare that many rows with the panels [first, last) of the part that begins at `begin`.
  virtual void scan(std::int64_t rows, std::int64_t begin, std::int64_t first, std::int64_t last,
                    std::int32_t *best) const = 0;
  /// Find for whole tiles of rows the score, as the scan has it, that every code within `reach` exceeds.
  virtual void limit(const Block &block, const double *reach, std::int32_t *thresholds) = 0;
  /// Find for each row how far rounding moves it and a code together, at most.
  virtual void moved(std::int64_t rows, double *out) const = 0;
  /// List the codes of the panels [first, last) that score at least `threshold`; false if there is no
  /// room.
  virtual bool collect(std::int64_t row, std::int32_t threshold, std::int64_t first, std::int64_t last,
                       Pairs &pairs) const = 0;
  /// Products of the filter that a row is spared, as measured.
  virtual double saved() const = 0;
};

/// Makes what a thread needs; none if a call has no first pass.
using MakeCoarse = std::function<std::unique_ptr<Coarse>()>;

}  // namespace certvq
