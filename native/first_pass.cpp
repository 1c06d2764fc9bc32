#include "first_pass.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bounds.h"

namespace certvq {
namespace {

constexpr std::int64_t kCacheBytes = 24 << 10;
constexpr std::int64_t kMostCollected = 1024;  // candidates; a row with more is left to the filter
constexpr int kRatioBits = 5;  // so that a ratio is exact in float32, and its products nearly

constexpr std::int64_t kSampled = 12;          // rows, and twice as many of
constexpr std::int64_t kManyRows = 4096;       // latents
// What it takes to compare a code in float64, in products of the filter, as measured.
constexpr double kComparedDim = 20.0;
constexpr double kCompared = 1000.0;

/// The greatest number of few bits that is not above `ratio`.
double few_bits(double ratio) {
  int exponent = 0;
  const double mantissa = std::frexp(ratio, &exponent);
  return std::ldexp(std::floor(std::ldexp(mantissa, kRatioBits)), exponent - kRatioBits);
}

}  // namespace

FirstPass::FirstPass(const Packed &packed, const ByteCodes &codes)
    : packed_(packed),
      codes_(codes),
      isa_(*packed.isa),
      bytes_(*packed.isa->bytes),
      lanes_(packed.isa->lanes),
      rows_(Block::most_rows(packed)) {
  const std::int64_t quads = codes.panels.pairs;
  const std::int64_t chunks = bytes_.chunk == 0 ? 1 : (quads + bytes_.chunk - 1) / bytes_.chunk;
  parts_ = (codes.panels.count + codes.part_panels - 1) / codes.part_panels;
  step_ = std::max(std::int64_t{1}, kCacheBytes / (quads * kBlocks * lanes_ * 4));
  const std::int64_t groups = rows_ * parts_ * lanes_;
  const std::int64_t width = codes.panels.grouped ? kBlocks : 1;
  best_ = Aligned<std::int32_t>(parts_ * rows_ * 2 * lanes_);
  integers_ = Aligned<std::int32_t>(rows_ * quads);
  starts_ = Aligned<std::int32_t>(rows_ * chunks);
  ratios_ = Aligned<float>(rows_);
  residuals_ = Aligned<double>(rows_);
  norms_ = Aligned<double>(rows_);
  scales_ = Aligned<double>(rows_ / kTileRows);
  best_codes_ = Aligned<std::int32_t>(rows_);
  none_ = Aligned<std::int32_t>(rows_);
  every_row_ = Aligned<std::int32_t>(rows_);
  std::fill_n(none_.data(), rows_, -1);
  std::iota(every_row_.data(), every_row_.data() + rows_, 0);
  thresholds_ = Aligned<std::int32_t>(rows_);
  reach_ = Aligned<double>(rows_);
  const auto rows = static_cast<std::size_t>(rows_);
  crowded_.resize(rows);
  least_.resize(rows);
  next_.resize(rows);
  nearest_.assign(rows, 0);
  group_rows_ = Aligned<std::int32_t>(groups);
  group_codes_ = Aligned<std::int32_t>(groups);
  group_sqdist_ = Aligned<double>(groups * width);
  pair_rows_ = Aligned<std::int32_t>(kMostCollected);
  pair_codes_ = Aligned<std::int32_t>(kMostCollected);
  pair_sqdist_ = Aligned<double>(kMostCollected);
}

/// Choose the unit of each tile: its widest entry fits a byte, and no 16-bit sum overflows.
void FirstPass::quantize(const Block &block) {
  const std::int64_t quads = codes_.panels.pairs;
  const std::int64_t stride = packed_.stride;
  const std::int64_t chunks = bytes_.chunk == 0 ? 1 : (quads + bytes_.chunk - 1) / bytes_.chunk;
  for (std::int64_t tile = 0; tile < block.rows(); tile += kTileRows) {
    const std::int64_t full = tile + kTileRows;
    const std::int64_t end = std::min(full, block.rows());
    const double widest = bytes_.widest(block.exact(tile), true, packed_.centre.data(), end - tile, stride);
    const ByteRows out{integers_.data() + tile * quads, starts_.data() + tile * chunks,
                       residuals_.data() + tile, norms_.data() + tile};
    double ratio = few_bits(std::min(bytes_.limit / (widest * codes_.scale), ByteCodes::kMostRatio));
    for (;;) {
      const double part = bytes_.round(block.exact(tile), packed_.centre.data(), codes_.scale * ratio,
                                       end - tile, stride, quads, out);
      const double greatest = bytes_.chunk == 0 ? 0.0 : std::sqrt(part) * codes_.part;
      if (greatest <= bounds::BYTE_SUM) break;
      ratio = few_bits(ratio * std::min(bounds::BYTE_SUM / greatest, 0.97));
    }
    scales_.data()[tile / kTileRows] = 1.0 / ratio;
    std::fill_n(ratios_.data() + tile, kTileRows, static_cast<float>(ratio));
    std::fill(integers_.data() + end * quads, integers_.data() + full * quads, 0);
    std::fill(starts_.data() + end * chunks, starts_.data() + full * chunks, 0);
    std::fill(residuals_.data() + end, residuals_.data() + full, 0.0);
    std::fill(norms_.data() + end, norms_.data() + full, 0.0);
  }
}

ByteScan FirstPass::rows(std::int64_t count, std::int64_t part) {
  return {integers_.data(), starts_.data(), ratios_.data(), count,
          best_.data() + part * rows_ * 2 * lanes_, part * codes_.part_panels};
}

std::int64_t FirstPass::steps() const {
  const std::int64_t of_part = (codes_.part_panels + step_ - 1) / step_;
  return parts_ * of_part;
}

bool FirstPass::scan(const Block &block, const std::function<bool()> &between) {
  quantize(block);
  for (std::int64_t part = 0; part < parts_; ++part) {
    const ByteScan scan = rows(block.tiled(), part);
    const std::int64_t end = std::min(scan.begin + codes_.part_panels, codes_.panels.count);
    for (std::int64_t first = scan.begin; first < end; first += step_) {
      bytes_.scan(scan, codes_.panels, first, std::min(first + step_, end));
      if (!between()) return false;
    }
  }
  return true;
}

/// Measure the group of the best score; every nearest code is within the distance of its nearest.
void FirstPass::guess(const Block &block, const Exact &exact) {
  const std::int64_t count = block.rows();
  isa_.rivals(memory(), 0, count, codes_.panels, none_.data(), best_codes_.data());
  const Pairs groups{every_row_.data(), best_codes_.data(), count, rows_};
  isa_.group_sqdists(exact, codes_.panels.grouped, groups, group_sqdist_.data());
  std::fill(least_.begin(), least_.end(), HUGE_VAL);
  std::fill(next_.begin(), next_.end(), HUGE_VAL);
  consider_groups(groups);
  for (std::int64_t row = 0; row < count; ++row) {
    reach_.data()[row] = bounds::norm_upper(least_[static_cast<std::size_t>(row)],
                                            static_cast<double>(packed_.dim));
  }
  std::fill(reach_.data() + count, reach_.data() + block.tiled(), 0.0);
}

/// Find the scores below which no nearest code can be, in the form of the scan.
void FirstPass::limit(const Block &block) {
  const Quantized quantized{norms_.data(),    residuals_.data(), scales_.data(),
                            codes_.scale,     codes_.residual,   static_cast<double>(packed_.dim),
                            packed_.widen};
  isa_.score_limits(quantized, block.tiled(), 0.0, reach_.data(), thresholds_.data());
  const int bits = codes_.panels.group_bits;
  const std::int32_t least = kNothing >> bits;
  for (std::int64_t row = 0; row < block.rows(); ++row) {
    std::int32_t &threshold = thresholds_.data()[row];
    threshold = threshold > least ? std::min(threshold, ~least) * (1 << bits) : kNothing;
  }
}

inline void FirstPass::consider(std::int64_t row, std::int64_t code, double sqdist) {
  const auto place = static_cast<std::size_t>(row);
  const bool nearer = sqdist < least_[place];
  const double other = nearer ? least_[place] : sqdist;
  next_[place] = other < next_[place] ? other : next_[place];
  least_[place] = nearer ? sqdist : least_[place];
  nearest_[place] = nearer ? static_cast<std::int32_t>(code) : nearest_[place];
}

void FirstPass::consider_groups(const Pairs &groups) {
  const std::int64_t width = codes_.panels.grouped ? kBlocks : 1;
  const double *sqdist = group_sqdist_.data();
  for (std::int64_t group = 0; group < groups.count; ++group, sqdist += width) {
    for (std::int64_t member = 0; member < width; ++member) {
      consider(groups.rows[group], groups.codes[group] + member, sqdist[member]);
    }
  }
  compared_ += groups.count * width;
}

/// Consider all codes of the parts that may hold more than they remember; false if they are too many.
bool FirstPass::collect(std::int64_t row, const Exact &exact) {
  Pairs pairs{pair_rows_.data(), pair_codes_.data(), 0, kMostCollected};
  const ByteScan scan = rows(0, 0);
  for (std::uint32_t left = crowded_[static_cast<std::size_t>(row)]; left != 0; left &= left - 1) {
    const std::int64_t first = __builtin_ctz(left) * codes_.part_panels;
    const std::int64_t last = std::min(first + codes_.part_panels, codes_.panels.count);
    if (!bytes_.collect(scan, row, thresholds_.data()[row], codes_.panels, first, last,
                        packed_.distinct, pairs)) {
      return false;
    }
  }
  isa_.sqdist(exact.rows, exact.vectors, exact.wide, exact.stride, pairs, pair_sqdist_.data());
  const std::int32_t group = codes_.panels.grouped ? ~(kBlocks - 1) : ~0;
  for (std::int64_t pair = 0; pair < pairs.count; ++pair) {
    if ((pairs.codes[pair] & group) == best_codes_.data()[row]) continue;  // was considered
    consider(row, pairs.codes[pair], pair_sqdist_.data()[pair]);
  }
  compared_ += pairs.count;
  return true;
}

/// Find the rows of which the filter alone excludes all codes but the nearest.
void FirstPass::find_alone(const Block &block, const Exact &exact, const Pairs &groups, bool *alone) const {
  const double dim = static_cast<double>(packed_.dim);
  for (std::int64_t row = 0; row < block.rows(); ++row) {
    const auto place = static_cast<std::size_t>(row);
    const double moved = bounds::fixed_point_residual(residuals_.data()[row], dim) *
                             scales_.data()[row / kTileRows] + codes_.residual;
    const double distance = reach_.data()[row] + 2.0 * moved / codes_.scale;
    alone[row] = crowded_[place] == 0 &&
                 next_[place] > distance * distance * (exact.relative * exact.relative) + exact.slack;
  }
  for (std::int64_t group = 0; group < groups.count; ++group) alone[groups.rows[group]] = false;
}

void FirstPass::choose(const Block &block, const Settled &settled, bool *alone) {
  const Exact exact = block.described();
  guess(block, exact);
  compared_ = 0;
  limit(block);
  const std::int64_t count = block.rows();
  Pairs groups{group_rows_.data(), group_codes_.data(), 0, rows_ * parts_ * lanes_};
  isa_.passing(memory(), count, codes_.panels, thresholds_.data(), groups, crowded_.data());
  isa_.group_sqdists(exact, codes_.panels.grouped, groups, group_sqdist_.data());
  find_alone(block, exact, groups, alone);
  consider_groups(groups);
  for (std::int64_t row = 0; row < count; ++row) {
    const auto place = static_cast<std::size_t>(row);
    const bool all = crowded_[place] == 0 || collect(row, exact);
    // Every nearest code is among those that were considered.
    const double farther = least_[place] * exact.relative + exact.slack;
    settled.states[row] = all && next_[place] > farther ? kSettled : kCrowded;
    settled.codes[row] = nearest_[place];
    settled.sqdist[row] = least_[place];
  }
}

bool FirstPass::pays(const Packed &packed, const ByteCodes &codes, const Matrix &latents) {
  Block block(packed);
  const std::int64_t count = std::min(
      latents.rows >= kManyRows ? 2 * kSampled : kSampled, Block::most_rows(packed));
  std::int64_t numbers[2 * kSampled];
  for (std::int64_t row = 0; row < count; ++row) numbers[row] = row * (latents.rows / count);
  if (block.gather(latents, numbers, count) != Refusal::kNone) return false;
  FirstPass pass(packed, codes);
  pass.scan(block, [] { return true; });
  std::int32_t nearest[2 * kSampled];
  double sqdist[2 * kSampled];
  double next[2 * kSampled];
  std::uint8_t states[2 * kSampled];
  bool alone[2 * kSampled];
  pass.choose(block, {nearest, sqdist, next, states}, alone);
  const auto left = static_cast<double>(std::count(states, states + count, kCrowded));
  const double dim = static_cast<double>(packed.dim);
  const double products = static_cast<double>(packed.distinct) * dim;
  const double compared = static_cast<double>(pass.compared()) * (kComparedDim * dim + kCompared);
  const double saved = packed.isa->bytes->saved - packed.isa->bytes->bookkeeping / dim;
  return compared + left * products < saved * products * static_cast<double>(count);
}

}  // namespace certvq
