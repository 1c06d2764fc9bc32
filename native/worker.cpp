#include "worker.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "bounds.h"
#include "dense.h"
#include "exact.h"
#include "lead.h"
#include "together.h"

namespace certvq {
namespace {

constexpr std::int64_t kMostAside = 96;  // rows, before they are compared densely
constexpr std::int64_t kCacheBytes = 24 << 10;  // of panels, which stay while a block passes
constexpr std::int64_t kSortedRows = 1 << 16;  // rows whose neighbours are brought together
constexpr std::int64_t kMostDims = 8;       // of a codebook that is sorted
constexpr double kWorthSorting = 0.6;       // share of the panels, measured in docs/performance.md
constexpr std::int64_t kFewCandidates = 256;  // more are compared densely

}  // namespace

std::int64_t Worker::share_rows(const Packed &packed) {
  return packed.sorted ? kSortedRows : Block::most_rows(packed);
}

Worker::Worker(const Packed &packed, const Matrix &latents, const Results &results,
               Progress &progress, std::function<void()> poll, const MakeCoarse &coarse)
    : packed_(packed),
      isa_(*packed.isa),
      latents_(latents),
      results_(results),
      progress_(progress),
      poll_(std::move(poll)),
      block_(packed) {
  const std::int64_t rows = Block::most_rows(packed);
  const std::int64_t most = isa_.lanes * kBlocks;  // candidates of a row that is not crowded
  pair_capacity_ = rows * most + kFewCandidates + most;
  best_ = Aligned<std::int32_t>(rows * 2 * isa_.lanes);
  std::fill_n(best_.data(), rows * 2 * isa_.lanes, kNothing);  // also of rows that a block lacks
  leading_ = Aligned<std::int32_t>(rows);
  clear_ = Aligned<double>(rows);
  thresholds_ = Aligned<std::int32_t>(rows);
  codes_ = Aligned<std::int32_t>(rows);
  sqdist_ = Aligned<double>(rows);
  next_ = Aligned<double>(rows);
  beyond_ = Aligned<double>(rows);
  std::fill_n(beyond_.data(), rows, HUGE_VAL);
  if (results.leads != nullptr) lowers_ = Aligned<double>(rows);
  states_ = Aligned<std::uint8_t>(rows);
  pair_rows_ = Aligned<std::int32_t>(pair_capacity_);
  pair_codes_ = Aligned<std::int32_t>(pair_capacity_);
  pair_sqdist_ = Aligned<double>(pair_capacity_);
  vector_ = Aligned<double>(packed.stride);
  rows_ = Aligned<std::int64_t>(rows);
  if (coarse) {
    first_pass_ = std::make_unique<FirstPass>(packed, coarse());
    alone_ = std::make_unique<bool[]>(static_cast<std::size_t>(rows));
  }
  if (packed.sorted) {
    gaps_ = Aligned<double>(packed.boxes.stride);
  }
}

void Worker::decide(std::int64_t first, std::int64_t last, std::int64_t then) {
  if (packed_.sorted && sorting_pays_) return decide_sorted(nullptr, first, last - first);
  const std::int64_t block = Block::most_rows(packed_);
  for (; first < last && !progress_.stopped(); first += block) {
    const std::int64_t count = std::min(block, last - first);
    std::iota(rows_.data(), rows_.data() + count, first);
    isa_.read(latents_, first, count, packed_.stride, block_.entries(0));
    const std::int64_t next = first + count < last ? first + count : then;
    if (first_pass_) {
      decide_coarse(count, next);
    } else {
      decide_block(count, false, next);
    }
  }
}

void Worker::decide_rows(const std::int64_t *rows, std::int64_t count) {
  if (packed_.sorted && sorting_pays_) return decide_sorted(rows, 0, count);
  const std::int64_t block = Block::most_rows(packed_);
  for (std::int64_t begin = 0; begin < count && !progress_.stopped(); begin += block) {
    const std::int64_t some = std::min(block, count - begin);
    std::copy_n(rows + begin, some, rows_.data());
    for (std::int64_t row = 0; row < some; ++row) {
      isa_.read(latents_, rows[begin + row], 1, packed_.stride, block_.entries(row));
    }
    decide_block(some, false, latents_.rows);
  }
}

/// Bring neighbours together, so that a tile needs few panels. Without `rows` they are those from
/// `first` on.
void Worker::decide_sorted(const std::int64_t *rows, std::int64_t first, std::int64_t count) {
  const std::int64_t stride = packed_.stride;
  if (static_cast<std::int64_t>(share_.bytes() / sizeof(double)) < count * stride) {
    share_ = Aligned<double>(count * stride);
  }
  if (rows == nullptr) {
    isa_.read(latents_, first, count, stride, share_.data());
  } else {
    for (std::int64_t row = 0; row < count; ++row) {
      isa_.read(latents_, rows[row], 1, stride, share_.data() + row * stride);
    }
  }
  order_ = together(share_.data(), count, packed_.dim, stride);
  const std::int64_t block = Block::most_rows(packed_);
  tiles_ = scanned_ = 0;
  for (std::int64_t begin = 0; begin < count && !progress_.stopped(); begin += block) {
    const std::int64_t some = std::min(block, count - begin);
    const std::int32_t *places = order_.data() + begin;
    for (std::int64_t row = 0; row < some; ++row) {
      rows_.data()[row] = rows == nullptr ? first + places[row] : rows[places[row]];
      results_.fetch(rows_.data()[row]);
    }
    copy_rows(share_.data(), some, stride, [places](std::int64_t row) { return places[row]; },
              block_.entries(0));
    decide_block(some, true, latents_.rows);
  }
  const double all = static_cast<double>(tiles_) * static_cast<double>(packed_.panels.count);
  sorting_pays_ = static_cast<double>(scanned_) < kWorthSorting * all;
}

/// Decide the first rows of the block; `near` says that neighbours are together.
void Worker::decide_block(std::int64_t count, bool near, std::int64_t then) {
  const Refusal refusal = block_.examine(count);
  if (refusal != Refusal::kNone) return progress_.refuse(refusal);
  block_.quantize();
  if (near) {
    scan_near(count);
  } else {
    if (packed_.sorted) std::fill_n(beyond_.data(), count, HUGE_VAL);
    scan(then);
  }
  if (progress_.stopped()) return;
  certify();
  resolve(count);
}

/// Decide the first rows of the block by the first pass, or leave them to the filter.
void Worker::decide_coarse(std::int64_t count, std::int64_t then) {
  const Refusal refusal = block_.examine(count);
  if (refusal != Refusal::kNone) return progress_.refuse(refusal);
  const std::int64_t end = std::min(then + block_.rows(), latents_.rows);
  const std::int64_t fetched = block_.rows() / first_pass_->steps() + 1;
  const auto between = [&] {
    const std::int64_t some = std::min(end, then + fetched);
    for (; then < some; ++then) fetch_row(latents_, then);
    poll_();
    return !progress_.stopped();
  };
  if (!first_pass_->scan(block_, between)) return;
  const Settled settled{codes_.data(), sqdist_.data(), next_.data(), states_.data()};
  first_pass_->choose(block_, settled, alone_.get());
  for (std::int64_t row = 0; row < count; ++row) {
    if (states_.data()[row] == kSettled) {
      results_.write(rows_.data()[row], packed_.index(codes_.data()[row]),
                     alone_[static_cast<std::size_t>(row)] ? kFilter : kRefined, sqdist_.data()[row]);
    } else {
      left_.push_back(rows_.data()[row]);
    }
  }
  if (static_cast<std::int64_t>(left_.size()) >= Block::most_rows(packed_)) decide_left();
}

/// Decide the rows that the first pass left.
void Worker::decide_left() {
  const std::vector<std::int64_t> rows = std::move(left_);
  left_.clear();
  decide_rows(rows.data(), static_cast<std::int64_t>(rows.size()));
}

void Worker::certify() {
  const std::int64_t rows = block_.tiled();
  isa_.leading({best_.data(), 1, 0, 0}, rows, packed_.panels, packed_.distinct, 1, leading_.data());
  isa_.certify(leading_.data(), rows, packed_.panels, block_.quantized(), thresholds_.data(),
               clear_.data());
}

/// Meanwhile fetch the rows from `then` on, as many as a block has: a few with each group of panels.
void Worker::scan(std::int64_t then) {
  const Panels &panels = packed_.panels;
  const std::int64_t panel_bytes = panels.pairs * kBlocks * isa_.lanes * 4;
  const std::int64_t step = std::max(std::int64_t{1}, kCacheBytes / panel_bytes);
  const Scan scan{block_.integers(0), block_.shifts(), block_.rows(), best_.data()};
  const std::int64_t steps = (panels.count + step - 1) / step;
  const std::int64_t end = std::min(then + block_.rows(), latents_.rows);
  for (std::int64_t first = 0; first < panels.count; first += step) {
    const std::int64_t some = std::min(end, then + (block_.rows() + steps - 1) / steps);
    for (; then < some; ++then) fetch_row(latents_, then);
    isa_.scan(scan, panels, first, std::min(first + step, panels.count));
    poll_();
    if (progress_.stopped()) return;
  }
}

/// Compare each tile with the panels whose boxes are near enough: first those that its own box
/// meets, or the nearest one, then those that are no farther than its best codes so far.
void Worker::scan_near(std::int64_t count) {
  const Panels &panels = packed_.panels;
  const Exact exact = block_.described();
  for (std::int64_t tile = 0; tile < count; tile += kTileRows) {
    const std::int64_t rows = std::min<std::int64_t>(kTileRows, count - tile);
    double lower[kMostDims];
    double upper[kMostDims];
    const double *x = block_.exact(tile);
    for (std::int64_t d = 0; d < packed_.dim; ++d) {
      lower[d] = upper[d] = x[d];
      for (std::int64_t row = 1; row < rows; ++row) {
        lower[d] = std::min(lower[d], x[row * packed_.stride + d]);
        upper[d] = std::max(upper[d], x[row * packed_.stride + d]);
      }
    }
    double *gaps = gaps_.data();
    isa_.gaps(packed_.boxes, packed_.dim, lower, upper, gaps);
    const double nearest = *std::min_element(gaps, gaps + panels.count);
    Scan scan{block_.integers(tile), block_.shifts() + tile, kTileRows,
              best_.data() + tile * 2 * isa_.lanes};
    scan.begin = std::find(gaps, gaps + panels.count, nearest) - gaps;
    scan_within(scan, -1.0, nearest);
    const Exact own{x, exact.vectors, exact.wide, exact.codes, exact.stride, exact.narrow,
                    exact.relative, exact.slack};
    const double reached = isa_.reached(scan, rows, panels, own);
    // Gaps are computed like squared distances, and rounded like them.
    const double limit = reached * exact.relative + exact.slack;
    scan_within(scan, nearest, limit);
    std::fill_n(beyond_.data() + tile, rows, limit);
    ++tiles_;
    poll_();
    if (progress_.stopped()) return;
  }
}

/// Compare a tile with the panels whose gap is above `from` and at most `to`, run by run.
void Worker::scan_within(const Scan &scan, double from, double to) {
  const double *gaps = gaps_.data();
  for (std::int64_t panel = 0; panel < packed_.panels.count;) {
    if (!(gaps[panel] > from && gaps[panel] <= to)) {
      ++panel;
      continue;
    }
    const std::int64_t first = panel;
    while (panel < packed_.panels.count && gaps[panel] > from && gaps[panel] <= to) ++panel;
    isa_.scan(scan, packed_.panels, first, panel);
    scanned_ += panel - first;
  }
}

void Worker::resolve(std::int64_t count) {
  const Scan scan{block_.integers(0), block_.shifts(), count, best_.data()};
  const Exact exact = block_.described();
  const Settled settled{codes_.data(), sqdist_.data(), next_.data(), states_.data()};
  Pairs pairs{pair_rows_.data(), pair_codes_.data(), 0, pair_capacity_};
  isa_.settle(scan, count, packed_.panels, exact, thresholds_.data(), clear_.data(), settled,
              pairs);
  for (std::int64_t row = 0; row < count; ++row) {
    if (states_.data()[row] == kSettled) {
      results_.write(rows_.data()[row], packed_.index(codes_.data()[row]), kFilter,
                     sqdist_.data()[row]);
    }
  }
  if (results_.leads != nullptr) write_leads(count);
  measure(pairs);
  for (std::int64_t begin = 0; begin < pairs.count;) {
    const std::int32_t row = pairs.rows[begin];
    std::int64_t end = begin + 1;
    while (end < pairs.count && pairs.rows[end] == row) ++end;
    resolve_row(rows_.data()[row], row, begin, end);
    begin = end;
    if (progress_.stopped()) return;
  }
  for (std::int64_t row = 0; row < count; ++row) {
    if (states_.data()[row] != kCrowded) continue;
    pairs.count = 0;
    pairs.capacity = kFewCandidates;
    if (isa_.collect(block_.integers(row), block_.shifts()[row],
                     thresholds_.data()[row], packed_.panels, packed_.distinct,
                     static_cast<std::int32_t>(row), pairs)) {
      measure(pairs);
      resolve_row(rows_.data()[row], row, 0, pairs.count);
      if (progress_.stopped()) return;
    } else {
      aside_.push_back(rows_.data()[row]);
      aside_reached_.push_back(sqdist_.data()[row]);
    }
  }
  if (static_cast<std::int64_t>(aside_.size()) >= kMostAside) decide_aside();
}

/// Rows that are not settled have no lead worth the name, and equal vectors may part.
void Worker::write_leads(std::int64_t count) {
  const Scan scan{block_.integers(0), block_.shifts(), count, best_.data()};
  isa_.lowers(scan, block_.tiled(), packed_.panels, block_.quantized(), codes_.data(), next_.data(),
              beyond_.data(), lowers_.data());
  for (std::int64_t row = 0; row < count; ++row) {
    const std::int64_t place = rows_.data()[row];
    results_.leads[place] = results_.lowers[place] = -HUGE_VALF;
    if (states_.data()[row] != kSettled || packed_.distinct < packed_.given) continue;
    const std::int32_t code = codes_.data()[row];
    const double lower = lowers_.data()[row];
    const double upper = bounds::norm_upper(sqdist_.data()[row], static_cast<double>(packed_.dim));
    const double lead = lead_of(lower, upper);
    if (!(lead > 0.0)) continue;
    results_.leads[place] = end_of(lead, results_.drift[packed_.index(code)]);
    results_.lowers[place] = end_of(lower, results_.others[packed_.index(code)]);
  }
}

void Worker::measure(const Pairs &pairs) {
  isa_.sqdist(block_.exact(0), packed_.vectors(), packed_.wide, packed_.stride, pairs,
              pair_sqdist_.data());
}

/// Decide a row among pairs [begin, end), which hold every nearest code.
void Worker::resolve_row(std::int64_t row, std::int64_t local, std::int64_t begin,
                         std::int64_t end) {
  const auto dim = static_cast<double>(packed_.dim);
  const std::int32_t *codes = pair_codes_.data();
  const double *sqdist = pair_sqdist_.data();
  std::int64_t nearest = begin;
  for (std::int64_t pair = begin + 1; pair < end; ++pair) {
    if (sqdist[pair] < sqdist[nearest]) nearest = pair;
  }
  DecidedBy decided_by = kRefined;
  std::int64_t code = codes[nearest];
  if (end - begin > 1) {
    const double upper = bounds::sqdist_upper(sqdist[nearest], dim);
    ExactRow row_among(block_.exact(local), packed_.dim);
    for (std::int64_t pair = begin; pair < end; ++pair) {
      if (pair == nearest || bounds::sqdist_lower(sqdist[pair], dim) > upper) continue;
      if (decided_by != kExact) {
        packed_.read_vector(code, vector_.data());
        row_among.consider(vector_.data(), code, packed_.index(code));
        decided_by = kExact;
      }
      packed_.read_vector(codes[pair], vector_.data());
      row_among.consider(vector_.data(), codes[pair], packed_.index(codes[pair]));
      if (pace_.due(packed_.dim * Pace::kExactDim)) poll_();
      if (progress_.stopped()) return;
    }
    if (decided_by == kExact) {
      code = row_among.nearest();
      for (std::int64_t pair = begin; pair < end; ++pair) {
        if (codes[pair] == code) nearest = pair;
      }
    }
  }
  results_.write(row, packed_.index(code), decided_by, sqdist[nearest]);
}

void Worker::finish() {
  decide_left();
  decide_aside();
}

void Worker::decide_aside() {
  const std::int64_t block = Block::most_rows(packed_);
  for (std::int64_t first = 0; first < static_cast<std::int64_t>(aside_.size()); first += block) {
    dense(first, std::min(block, static_cast<std::int64_t>(aside_.size()) - first));
  }
  aside_.clear();
  aside_reached_.clear();
}

/// Compare rows that were put aside with every code vector.
void Worker::dense(std::int64_t first, std::int64_t count) {
  const std::int64_t *rows = aside_.data() + first;
  std::vector<Dense::Choice> choices(static_cast<std::size_t>(count));
  const Refusal refusal = block_.gather(latents_, rows, count);  // others may write meanwhile
  if (refusal != Refusal::kNone) return progress_.refuse(refusal);
  const auto goes_on = [this] {
    poll_();
    return !progress_.stopped();
  };
  if (!dense_) dense_ = std::make_unique<Dense>(packed_);
  if (!dense_->decide(block_.exact(0), aside_reached_.data() + first, count, choices.data(), goes_on)) return;
  for (std::int64_t row = 0; row < count; ++row) {
    auto [code, exact] = choices[static_cast<std::size_t>(row)];
    std::int32_t local = 0;
    double sqdist = 0.0;
    const Pairs pair{&local, &code, 1, 1};
    isa_.sqdist(block_.exact(row), packed_.vectors(), packed_.wide, packed_.stride, pair, &sqdist);
    results_.write(rows[row], packed_.index(code), exact ? kExact : kRefined, sqdist);
  }
}

}  // namespace certvq
