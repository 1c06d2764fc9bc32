/// The codes near to each row of a block: besides its own guessed, then all within some reach; or
/// the few nearest.
///
/// In: a packed codebook, latents and their codes. Out: block by block, for each row the nearest
/// code of two groups, and further groups that may be as near as the caller needs. The filter's
/// scores are kept for several parts of the codebook, so that few candidates share what is
/// remembered; of a sorted codebook the panels that are too far from a tile are left out.
/// Theorems: int16_dot_exact, by way of bounds::fixed_point_score_of_distance.

#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "block.h"
#include "packed.h"
#include "worker.h"

namespace certvq {

class Nearby {
 public:
  static constexpr std::int64_t kCapacity = 1024;  // codes that `collect` lists

  /// `poll` is called every now and then and may refuse the progress.
  Nearby(const Packed &packed, const std::vector<std::int64_t> &places, Progress &progress,
         std::function<void()> poll);

  /// Rows that one call of `each_block` should have.
  static std::int64_t share_rows(const Packed &packed);

  /// Fill `reach` and `limit` of rows [first, first + count) of the block, whose guess is made.
  using Reach = std::function<void(std::int64_t first, std::int64_t count)>;

  /// Read rows [first, last) block by block, find what is near and let `use` look at each block.
  /// With one code vector only, nothing is found.
  void each_block(const Matrix &latents, const std::int64_t *codes, std::int64_t first,
                  std::int64_t last, const Reach &reach, const std::function<void()> &use);

  /// Read rows [first, last) block by block and list the groups of the `places` nearest codes of each,
  /// at most kSlots. No guess is made, and the rows have no own codes.
  void each_ranked(const Matrix &latents, std::int64_t first, std::int64_t last, int places,
                   const std::function<void()> &use);

  // Of the block at hand, whose rows need not follow each other in the latents.
  const Block &block() const { return block_; }
  std::int64_t number(std::int64_t row) const { return numbers_.data()[row]; }
  std::int32_t own(std::int64_t row) const { return own_.data()[row]; }  // -1 if an equal is lower
  const Guess &guess() const { return guess_; }
  /// How far codes matter, and the computed squared distance beyond which they do not.
  double *reach() { return reach_.data(); }
  double *limit() { return limit_.data(); }

  /// The gap of squared distances that the filter sees, if rows were ranked.
  double clear(std::int64_t row) const { return clear_.data()[row]; }

  /// Groups are `width` codes, named by the first of them. Padding is infinitely far, and so are, of
  /// the guess, the row's own code and the nearest other one.
  std::int64_t width() const { return width_; }
  /// The groups of which the guess was made, two for each row, and their squared distances.
  const Pairs &guessed() const { return guessed_; }
  const double *guessed_sqdist() const { return guessed_sqdist_.data(); }
  /// Further groups within reach, in the order of rows.
  const Pairs &groups() const { return groups_; }
  const double *group_sqdist() const { return group_sqdist_.data(); }
  /// Whether `collect` has to be asked too; what it lists may include codes that were seen already.
  /// About the squared distance of the last of the ranked codes; nothing is proved of it.
  double expected(std::int64_t row) const {
    const double scale = block_.scale(row);
    const double score = static_cast<double>(leading_.data()[row]);
    return (block_.norm(row) * scale - 2.0 * score) * scale / (packed_.scale * packed_.scale);
  }
  bool crowded(std::int64_t row) const { return crowded_[static_cast<std::size_t>(row)] != 0; }
  /// List all further codes of a crowded row in `collected`; false if there are too many.
  bool collect(std::int64_t row);
  /// List the codes [first, first + count), at most kCapacity, as `collect` does.
  void list(std::int64_t row, std::int64_t first, std::int64_t count);
  const Pairs &collected() const { return collected_; }
  const double *collected_sqdist() const { return collected_sqdist_.data(); }

 private:
  /// Panels that were compared, from the first to the last.
  struct Run {
    std::int64_t first;
    std::int64_t last;
  };

  void order(const std::int64_t *codes, std::int64_t first, std::int64_t last);
  void order(std::int64_t first, std::int64_t last);
  void read_share(const Matrix &latents, std::int64_t first, std::int64_t last);
  Refusal read_block(const Matrix &latents, std::int64_t first, std::int64_t begin, std::int64_t count);
  void scan();
  void scan_near(std::int64_t count, const Reach &limit);
  void guess_near(std::int64_t first, std::int64_t count);
  void limit_ranked(std::int64_t first, std::int64_t count, int places);
  void scan_within(std::int64_t tile, double from, double to);
  void make_guess(const Memory &memory, std::int64_t first, std::int64_t count);
  void find(std::int64_t count);
  void list_groups(std::int64_t count);
  void weigh_sorting();
  Memory memory();
  bool collect(std::int64_t row, const Run &run);
  Exact described() const;

  const Packed &packed_;
  const Isa &isa_;
  const std::vector<std::int64_t> &places_;  // of the user's codes; -1 if an equal one is lower
  Progress &progress_;
  std::function<void()> poll_;
  int lanes_;
  std::int64_t rows_;   // of a block, at most
  std::int64_t width_;  // codes of a group
  double dim_;
  Block block_;
  bool near_ = false;         // whether the block at hand has neighbours together
  bool sorting_pays_ = true;
  std::int64_t tiles_ = 0;    // of the rows at hand,
  std::int64_t scanned_ = 0;  // and the panels that they were compared with
  std::int64_t part_panels_;
  std::int64_t near_parts_;
  std::vector<Run> parts_;
  std::vector<Run> runs_;                 // of all tiles of a block, if `near_`
  std::vector<std::size_t> runs_begin_;   // of each tile
  std::vector<std::int64_t> order_;
  Aligned<double> share_;          // (rows at hand, stride), if neighbours are brought together
  Aligned<std::int32_t> best_;     // (parts, block, 2, lanes)
  Aligned<std::int32_t> scratch_;  // as best_, if sorted
  Aligned<double> gaps_;           // (panels,), if sorted
  Aligned<std::int64_t> numbers_;  // (block,), as the following
  Aligned<std::int32_t> own_;
  Aligned<std::int32_t> rival_;  // first code of a group, or -1
  Aligned<double> own_sqdist_;
  Aligned<double> least_;
  Aligned<double> next_;
  Aligned<std::int32_t> nearest_;
  Guess guess_{};
  Aligned<double> reach_;
  Aligned<double> limit_;
  Aligned<std::int32_t> leading_;
  Aligned<std::int32_t> thresholds_;
  Aligned<double> clear_;
  std::vector<std::uint32_t> crowded_;
  Aligned<std::int32_t> guess_rows_;   // (block, 2), pairs of which the guess is made
  Aligned<std::int32_t> guess_codes_;
  Aligned<double> guessed_sqdist_;     // (block, 2, width)
  Pairs guessed_{};
  std::int64_t most_groups_ = 0;       // more than (block * parts * lanes)
  Aligned<std::int32_t> group_rows_;   // (most groups,)
  Aligned<std::int32_t> group_codes_;
  Aligned<double> group_sqdist_;       // (most groups, width), and the rest of a vector
  Pairs groups_{};
  Aligned<std::int32_t> pair_rows_;    // (kCapacity,)
  Aligned<std::int32_t> pair_codes_;
  Aligned<double> collected_sqdist_;
  Pairs collected_{};
};

/// For each of the user's codes its place in the packed codebook; -1 if an equal one is lower.
std::vector<std::int64_t> places_of_codes(const Packed &packed);

}  // namespace certvq
