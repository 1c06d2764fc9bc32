#include "first_pass.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bounds.h"

namespace certvq {
namespace {

constexpr std::int64_t kCacheBytes = 24 << 10;
constexpr std::int64_t kMostCollected = 1024;  // candidates; a row with more is left to the filter

constexpr std::int64_t kSampled = 12;          // rows, and twice as many of
constexpr std::int64_t kManyRows = 4096;       // latents
// What it takes to compare a code in float64, in products of the filter, as measured.
constexpr double kComparedDim = 20.0;
constexpr double kCompared = 1000.0;
constexpr std::int64_t kCollected = 64;  // codes that are looked through in that time

}  // namespace

FirstPass::FirstPass(const Packed &packed, std::unique_ptr<Coarse> coarse)
    : packed_(packed),
      coarse_(std::move(coarse)),
      panels_(coarse_->panels()),
      isa_(*packed.isa),
      lanes_(packed.isa->lanes),
      rows_(Block::most_rows(packed)),
      part_panels_(coarse_->part_panels()) {
  parts_ = (panels_.count + part_panels_ - 1) / part_panels_;
  step_ = std::max(std::int64_t{1}, kCacheBytes / (panels_.pairs * kBlocks * lanes_ * 4));
  const std::int64_t groups = rows_ * parts_ * lanes_;
  const std::int64_t width = panels_.grouped ? kBlocks : 1;
  best_ = Aligned<std::int32_t>(parts_ * rows_ * 2 * lanes_);
  best_codes_ = Aligned<std::int32_t>(rows_);
  none_ = Aligned<std::int32_t>(rows_);
  every_row_ = Aligned<std::int32_t>(rows_);
  std::fill_n(none_.data(), rows_, -1);
  std::iota(every_row_.data(), every_row_.data() + rows_, 0);
  thresholds_ = Aligned<std::int32_t>(rows_);
  reach_ = Aligned<double>(rows_);
  moved_ = Aligned<double>(rows_);
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

std::int64_t FirstPass::steps() const {
  const std::int64_t of_part = (part_panels_ + step_ - 1) / step_;
  return parts_ * of_part;
}

bool FirstPass::scan(const Block &block, const std::function<bool()> &between) {
  rounded_ = coarse_->round(block);
  if (!rounded_) return true;
  for (std::int64_t part = 0; part < parts_; ++part) {
    const std::int64_t begin = part * part_panels_;
    const std::int64_t end = std::min(begin + part_panels_, panels_.count);
    for (std::int64_t first = begin; first < end; first += step_) {
      coarse_->scan(block.tiled(), begin, first, std::min(first + step_, end),
                    best_.data() + part * rows_ * 2 * lanes_);
      if (!between()) return false;
    }
  }
  return true;
}

/// Measure the group of the best score; every nearest code is within the distance of its nearest.
void FirstPass::guess(const Block &block, const Exact &exact) {
  const std::int64_t count = block.rows();
  isa_.rivals(memory(), 0, count, panels_, none_.data(), best_codes_.data());
  const Pairs groups{every_row_.data(), best_codes_.data(), count, rows_};
  isa_.group_sqdists(exact, panels_.grouped, groups, group_sqdist_.data());
  std::fill(least_.begin(), least_.end(), HUGE_VAL);
  std::fill(next_.begin(), next_.end(), HUGE_VAL);
  consider_groups(groups);
  for (std::int64_t row = 0; row < count; ++row) {
    reach_.data()[row] = bounds::norm_upper(least_[static_cast<std::size_t>(row)],
                                            static_cast<double>(packed_.dim));
  }
  std::fill(reach_.data() + count, reach_.data() + block.tiled(), 0.0);
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
  const std::int64_t width = panels_.grouped ? kBlocks : 1;
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
  for (std::uint32_t left = crowded_[static_cast<std::size_t>(row)]; left != 0; left &= left - 1) {
    const std::int64_t first = __builtin_ctz(left) * part_panels_;
    const std::int64_t last = std::min(first + part_panels_, panels_.count);
    compared_ += (last - first) * kBlocks * lanes_ / kCollected;
    if (!coarse_->collect(row, thresholds_.data()[row], first, last, pairs)) return false;
  }
  isa_.sqdist(exact.rows, exact.vectors, exact.wide, exact.stride, pairs, pair_sqdist_.data());
  const std::int32_t group = panels_.grouped ? ~(kBlocks - 1) : ~0;
  for (std::int64_t pair = 0; pair < pairs.count; ++pair) {
    if ((pairs.codes[pair] & group) == best_codes_.data()[row]) continue;  // was considered
    consider(row, pairs.codes[pair], pair_sqdist_.data()[pair]);
  }
  compared_ += pairs.count;
  return true;
}

/// Find the rows of which the filter alone excludes all codes but the nearest.
void FirstPass::find_alone(const Block &block, const Exact &exact, const Pairs &groups, bool *alone) {
  coarse_->moved(block.rows(), moved_.data());
  for (std::int64_t row = 0; row < block.rows(); ++row) {
    const auto place = static_cast<std::size_t>(row);
    const double distance = reach_.data()[row] + 2.0 * moved_.data()[row];
    alone[row] = crowded_[place] == 0 &&
                 next_[place] > distance * distance * (exact.relative * exact.relative) + exact.slack;
  }
  for (std::int64_t group = 0; group < groups.count; ++group) alone[groups.rows[group]] = false;
}

void FirstPass::choose(const Block &block, const Settled &settled, bool *alone) {
  const std::int64_t count = block.rows();
  if (!rounded_) return static_cast<void>(std::fill_n(settled.states, count, kCrowded));
  const Exact exact = block.described();
  guess(block, exact);
  compared_ = 0;
  coarse_->limit(block, reach_.data(), thresholds_.data());
  Pairs groups{group_rows_.data(), group_codes_.data(), 0, rows_ * parts_ * lanes_};
  isa_.passing(memory(), count, panels_, thresholds_.data(), groups, crowded_.data());
  isa_.group_sqdists(exact, panels_.grouped, groups, group_sqdist_.data());
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

bool FirstPass::pays(const Packed &packed, const MakeCoarse &make, const Matrix &latents) {
  Block block(packed);
  const std::int64_t count = std::min(
      latents.rows >= kManyRows ? 2 * kSampled : kSampled, Block::most_rows(packed));
  std::int64_t numbers[2 * kSampled];
  for (std::int64_t row = 0; row < count; ++row) numbers[row] = row * (latents.rows / count);
  if (block.gather(latents, numbers, count) != Refusal::kNone) return false;
  FirstPass pass(packed, make());
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
  return compared + left * products < pass.coarse_->saved() * static_cast<double>(count);
}

}  // namespace certvq
