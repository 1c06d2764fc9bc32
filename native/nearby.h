/// The codes near to each row of a block, besides a given one: guessed, then all within some reach.
///
/// In: a packed codebook and latents. Out: candidates of one row after the other. The filter's scores
/// are kept for several parts of the codebook, so that few candidates share what is remembered.
/// Theorems: int16_dot_exact, by way of bounds::fixed_point_score_of_distance.

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "block.h"
#include "packed.h"
#include "worker.h"

namespace certvq {

class Nearby {
 public:
  static constexpr std::int64_t kCapacity = 1024;  // candidates of a row

  explicit Nearby(const Packed &packed);

  /// Read rows [first, last), at most Block::most_rows of them, and score all codes.
  void read(const Matrix &latents, std::int64_t first, std::int64_t last, Progress &progress,
            const std::function<void()> &poll);

  /// Make candidates of the group of the given code and of the best one besides it, and take both
  /// out of the scores of the row: to be called once for each row.
  void guess(std::int64_t row, std::int64_t own);

  /// Append all codes whose distance to the row is at most `reach`, but for the groups that were
  /// guessed; others may come along, and a code twice. False if they are too many.
  bool find(std::int64_t row, double reach);

  /// Squared distances of candidates [first, first + count) to any vector of `packed.stride` doubles.
  void sqdist(const double *vector, std::int64_t first, std::int64_t count, double *out);

  const Block &block() const { return block_; }
  std::int32_t *codes() { return candidates_.data(); }
  std::int64_t count() const { return count_; }
  void resize(std::int64_t count) { count_ = count; }

 private:
  /// Panels whose lanes remember their own two best groups.
  struct Segment {
    Panels panels;
    std::int64_t first_code;
    std::int64_t codes;  // from the first to the end of the codebook
  };

  void split();
  void scan(Progress &progress, const std::function<void()> &poll);
  void append(const Segment &segment, std::int32_t score, int lane);
  std::int32_t *best(std::size_t segment, std::int64_t row) {
    return best_.data() + (static_cast<std::int64_t>(segment) * rows_ + row) * 2 * lanes_;
  }

  const Packed &packed_;
  const Isa &isa_;
  int lanes_;
  std::int64_t rows_;  // of a block, at most
  double dim_;
  Block block_;
  std::vector<Segment> segments_;
  std::int64_t segment_panels_ = 0;
  std::vector<std::int32_t> peaks_;  // the greatest score of each segment, of the row at hand
  Aligned<std::int32_t> best_;       // (segments, block, 2, lanes)
  Aligned<std::int32_t> zeros_;      // (kCapacity,), the rows of the pairs
  Aligned<std::int32_t> candidates_;
  std::int64_t count_ = 0;  // of candidates
};

/// For each of the user's codes its place in the packed codebook; -1 if an equal one is lower.
std::vector<std::int64_t> places_of_codes(const Packed &packed);

}  // namespace certvq
