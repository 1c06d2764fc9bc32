/// One thread's share of a call: blocks of rows through filter, certify and refine.
///
/// In: a packed codebook and latents. Out: codes, how each was decided, squared distances. Memory:
/// the buffers of one block, whatever N and K are.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "block.h"
#include "dense.h"
#include "first_pass.h"
#include "packed.h"

namespace certvq {

/// How a row was decided; the numbers are those of certvq.DecidedBy.
enum DecidedBy : std::uint8_t { kFilter = 1, kRefined = 2, kExact = 3 };

/// Where results go; those that are not wanted are null.
struct Results {
  std::int64_t *codes;
  std::uint8_t *decided_by;
  double *sqdist;
  const double *drift = nullptr;  // see Known in lloyd.h
  const double *others = nullptr;
  float *leads = nullptr;
  float *lowers = nullptr;

  /// Bring in what `write` fills, as neighbours lie all over the results.
  void fetch(std::int64_t row) const {
    __builtin_prefetch(codes + row, 1);
    if (decided_by != nullptr) __builtin_prefetch(decided_by + row, 1);
    if (sqdist != nullptr) __builtin_prefetch(sqdist + row, 1);
  }
  void write(std::int64_t row, std::int64_t code, DecidedBy by, double distance) const {
    codes[row] = code;
    if (decided_by != nullptr) decided_by[row] = by;
    if (sqdist != nullptr) sqdist[row] = distance;
  }
};

/// Why all threads stop before the end; the first reason stays.
class Progress {
 public:
  void refuse(Refusal reason) {
    Refusal none = Refusal::kNone;
    refusal_.compare_exchange_strong(none, reason);
  }
  Refusal refusal() const { return refusal_.load(std::memory_order_relaxed); }
  bool stopped() const { return refusal() != Refusal::kNone; }

 private:
  std::atomic<Refusal> refusal_{Refusal::kNone};
};

class Worker {
 public:
  /// `poll` is called every now and then and may refuse the progress. With `coarse` each block has a
  /// first pass.
  Worker(const Packed &packed, const Matrix &latents, const Results &results, Progress &progress,
         std::function<void()> poll, const MakeCoarse &coarse = {});

  /// Rows that one call of `decide` should have.
  static std::int64_t share_rows(const Packed &packed);

  /// Decide rows [first, last), at most share_rows of them, or put some aside. What is read next
  /// probably begins at row `then`.
  void decide(std::int64_t first, std::int64_t last, std::int64_t then);

  /// Decide the rows of these numbers, at most share_rows, or put some aside.
  void decide_rows(const std::int64_t *rows, std::int64_t count);

  /// Decide the rows that were put aside.
  void finish();

 private:
  void decide_sorted(const std::int64_t *rows, std::int64_t first, std::int64_t count);
  void decide_block(std::int64_t count, bool near, std::int64_t then);
  void decide_coarse(std::int64_t count, std::int64_t then);
  void decide_left();
  void decide_aside();
  void scan(std::int64_t then);
  void scan_near(std::int64_t count);
  void scan_within(const Scan &scan, double from, double to);
  void write_leads(std::int64_t count);
  void certify();
  void resolve(std::int64_t count);
  void measure(const Pairs &pairs);
  void resolve_row(std::int64_t row, std::int64_t local, std::int64_t begin, std::int64_t end);
  void dense(std::int64_t first, std::int64_t count);

  const Packed &packed_;
  const Isa &isa_;
  const Matrix &latents_;
  const Results &results_;
  Progress &progress_;
  std::function<void()> poll_;
  Pace pace_;
  Block block_;
  Aligned<std::int32_t> best_;        // (block, 2, lanes)
  Aligned<std::int32_t> leading_;     // (block,): the best score
  Aligned<double> clear_;             // (block,): a gap of squared distances that the filter sees
  Aligned<std::int32_t> thresholds_;  // (block,), below which no nearest code can score
  Aligned<std::int32_t> codes_;       // (block,), as the other parts of Settled
  Aligned<double> sqdist_;
  Aligned<double> next_;
  Aligned<double> beyond_;  // (block,), of the codes that a row was not compared with
  Aligned<double> lowers_;  // (block,), of distances to other codes
  Aligned<std::uint8_t> states_;
  Aligned<std::int32_t> pair_rows_;
  Aligned<std::int32_t> pair_codes_;
  Aligned<double> pair_sqdist_;
  Aligned<double> vector_;  // (stride,)
  Aligned<std::int64_t> rows_;  // (block,): which rows of the latents these are
  Aligned<double> share_;       // (rows of a share, stride), if sorted
  Aligned<double> gaps_;        // (panels,), if sorted
  std::vector<std::int32_t> order_;
  bool sorting_pays_ = true;
  std::int64_t tiles_ = 0;    // of the last share,
  std::int64_t scanned_ = 0;  // and the panels that they were compared with
  std::int64_t pair_capacity_;
  std::vector<std::int64_t> aside_;     // rows that the filter could not narrow down
  std::vector<double> aside_reached_;   // see Dense::decide
  std::unique_ptr<Dense> dense_;  // made when a row needs it
  std::unique_ptr<FirstPass> first_pass_;  // or null
  std::vector<std::int64_t> left_;         // rows that it left to the filter
  std::unique_ptr<bool[]> alone_;          // (block,)
};

}  // namespace certvq
