/// The first pass over a block: scores of a coarser form, and the rows that these decide.
///
/// In: a packed codebook, a coarser form of it, and a block of latents that was examined. Out: of each
/// row its nearest code, or that the 16-bit filter has to decide it. Scores tell less than those of the
/// filter, so that a row keeps a few codes, which are compared in float64. Theorem:
/// quantized_score_gap_le.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "block.h"
#include "coarse.h"

namespace certvq {

class FirstPass {
 public:
  FirstPass(const Packed &packed, std::unique_ptr<Coarse> coarse);

  /// Compare the block's rows with all codes. `between` is called after every few panels, and says
  /// whether to go on.
  bool scan(const Block &block, const std::function<bool()> &between);
  /// How often a scan calls `between`.
  std::int64_t steps() const;

  /// Choose the codes of the block's rows. States are kSettled, or kCrowded of a row that is left to
  /// the filter. `alone` says of a settled row that no other code was near.
  void choose(const Block &block, const Settled &settled, bool *alone);

  /// Codes that were compared in float64 for the last block, besides the best group of each row.
  std::int64_t compared() const { return compared_; }

  /// Whether a first pass would save time, judged by a few rows from all over the latents.
  static bool pays(const Packed &packed, const MakeCoarse &make, const Matrix &latents);

 private:
  void guess(const Block &block, const Exact &exact);
  void find_alone(const Block &block, const Exact &exact, const Pairs &groups, bool *alone);
  void consider_groups(const Pairs &groups);
  bool collect(std::int64_t row, const Exact &exact);
  void consider(std::int64_t row, std::int64_t code, double sqdist);
  Memory memory() { return {best_.data(), parts_, rows_ * 2 * lanes_, part_panels_}; }

  const Packed &packed_;
  const std::unique_ptr<Coarse> coarse_;
  const Panels &panels_;
  const Isa &isa_;
  int lanes_;
  std::int64_t rows_;  // of a block, at most
  std::int64_t part_panels_;
  std::int64_t parts_;
  std::int64_t step_;  // panels that stay in the cache while a block passes
  std::int64_t compared_ = 0;
  bool rounded_ = false;  // whether the block was compared
  Aligned<std::int32_t> best_;      // (parts, block, 2, lanes)
  Aligned<std::int32_t> best_codes_;  // (block,), as the following: the first of the group of the best score, or -1
  Aligned<std::int32_t> none_;        // -1
  Aligned<std::int32_t> every_row_;   // 0, 1, ...
  Aligned<std::int32_t> thresholds_;
  Aligned<double> reach_;  // within which every nearest code is
  Aligned<double> moved_;  // see Coarse
  std::vector<std::uint32_t> crowded_;
  std::vector<double> least_;
  std::vector<double> next_;
  std::vector<std::int32_t> nearest_;
  Aligned<std::int32_t> group_rows_;   // (block * parts * lanes,)
  Aligned<std::int32_t> group_codes_;
  Aligned<double> group_sqdist_;       // (block * parts * lanes, width)
  Aligned<std::int32_t> pair_rows_;
  Aligned<std::int32_t> pair_codes_;
  Aligned<double> pair_sqdist_;
};

}  // namespace certvq
