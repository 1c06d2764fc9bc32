#include "nearby.h"

#include <algorithm>
#include <cmath>

#include "bounds.h"

namespace certvq {
namespace {

constexpr std::int64_t kSlots = 128;            // lanes of all segments: few candidates share one
constexpr std::int64_t kCacheBytes = 24 << 10;  // of panels, which stay while a block passes

std::int32_t greatest(const std::int32_t *scores, int lanes) {
  std::int32_t result = kNothing;
  for (int lane = 0; lane < lanes; ++lane) result = std::max(result, scores[lane]);
  return result;
}

/// The threshold as an integer; what is no number lets everything pass.
std::int32_t whole(double threshold) {
  if (!(threshold > kNothing)) return kNothing;
  return threshold < INT32_MAX ? static_cast<std::int32_t>(threshold) : INT32_MAX;
}

}  // namespace

Nearby::Nearby(const Packed &packed)
    : packed_(packed),
      isa_(*packed.isa),
      lanes_(packed.isa->lanes),
      rows_(Block::most_rows(packed)),
      dim_(static_cast<double>(packed.dim)),
      block_(packed),
      zeros_(kCapacity),
      candidates_(kCapacity) {
  split();
  peaks_.resize(segments_.size());
  best_ = Aligned<std::int32_t>(static_cast<std::int64_t>(segments_.size()) * rows_ * 2 * lanes_);
  std::fill_n(zeros_.data(), kCapacity, 0);
}

void Nearby::split() {
  const Panels &all = packed_.panels;
  const std::int64_t panel_codes = kBlocks * lanes_;
  const std::int64_t most = std::max<std::int64_t>(1, kSlots / lanes_);
  segment_panels_ = (all.count + most - 1) / most;
  for (std::int64_t first = 0; first < all.count; first += segment_panels_) {
    Panels panels = all;
    panels.integers += first * all.pairs * panel_codes * 2;
    panels.offsets += first * panel_codes;
    panels.count = std::min(segment_panels_, all.count - first);
    segments_.push_back({panels, first * panel_codes, packed_.distinct - first * panel_codes});
  }
}

void Nearby::read(const Matrix &latents, std::int64_t first, std::int64_t last, Progress &progress,
                  const std::function<void()> &poll) {
  const Refusal refusal = block_.read(latents, first, last - first);
  if (refusal != Refusal::kNone) return progress.refuse(refusal);
  if (packed_.distinct > 1) {
    block_.quantize();
    scan(progress, poll);
  }
}

void Nearby::scan(Progress &progress, const std::function<void()> &poll) {
  const std::int64_t panel_bytes = packed_.panels.pairs * kBlocks * lanes_ * 4;
  const std::int64_t step = std::max(std::int64_t{1}, kCacheBytes / panel_bytes);
  for (std::size_t segment = 0; segment < segments_.size(); ++segment) {
    const Panels &panels = segments_[segment].panels;
    const Scan scan{block_.integers(0), block_.shifts(), block_.tiled(), best(segment, 0)};
    for (std::int64_t first = 0; first < panels.count; first += step) {
      isa_.scan(scan, panels, first, std::min(first + step, panels.count));
      poll();
      if (progress.stopped()) return;
    }
  }
}

void Nearby::guess(std::int64_t row, std::int64_t own) {
  const std::int64_t panel_codes = kBlocks * lanes_;
  const std::int64_t panel = own / panel_codes;
  const auto lane = static_cast<int>(own % panel_codes / kBlocks);
  const auto segment = static_cast<std::size_t>(panel / segment_panels_);
  const Panels &panels = packed_.panels;
  std::int64_t group = panel % segment_panels_;
  if (!panels.grouped) group = group * kBlocks + own % kBlocks;
  count_ = 0;
  append(segments_[segment], static_cast<std::int32_t>(group), lane);
  std::int32_t *state = best(segment, row);
  const std::int32_t names = (1 << panels.group_bits) - 1;
  if ((state[lane] & names) == group) state[lane] = state[lanes_ + lane];
  std::size_t rival = 0;
  for (std::size_t place = 0; place < segments_.size(); ++place) {
    peaks_[place] = greatest(best(place, row), lanes_);
    if (peaks_[place] > peaks_[rival]) rival = place;
  }
  const std::int32_t score = peaks_[rival];
  if (score == kNothing) return;
  state = best(rival, row);
  const auto found = static_cast<int>(std::find(state, state + lanes_, score) - state);
  append(segments_[rival], score, found);
  state[found] = state[lanes_ + found];
  peaks_[rival] = greatest(state, lanes_);
}

bool Nearby::find(std::int64_t row, double reach) {
  const double scale = block_.scale(row);
  const double inverse = 1.0 / scale;
  const double moved = bounds::fixed_point_residual(block_.residual(row), dim_) +
                       packed_.code_residual * inverse;
  const std::int32_t threshold = whole(bounds::fixed_point_score_of_distance(
      block_.norm(row), reach * packed_.scale * inverse, moved * packed_.widen, scale,
      static_cast<double>((1 << packed_.panels.group_bits) - 1)));
  for (std::size_t place = 0; place < segments_.size(); ++place) {
    const Segment &segment = segments_[place];
    const std::int32_t *state = best(place, row);
    if (peaks_[place] < threshold) continue;
    if (greatest(state + lanes_, lanes_) < threshold) {
      if (count_ + kBlocks * lanes_ > kCapacity) return false;
      for (int lane = 0; lane < lanes_; ++lane) {
        if (state[lane] >= threshold) append(segment, state[lane], lane);
      }
      continue;
    }
    Pairs pairs{zeros_.data(), candidates_.data(), count_, kCapacity};
    if (!isa_.collect(block_.integers(row), block_.shifts()[row], threshold, segment.panels,
                      segment.codes, 0, pairs)) {
      return false;
    }
    for (; count_ < pairs.count; ++count_) {
      candidates_.data()[count_] += static_cast<std::int32_t>(segment.first_code);
    }
  }
  return true;
}

/// Append the codes of a group, but for the padding.
void Nearby::append(const Segment &segment, std::int32_t score, int lane) {
  const Panels &panels = segment.panels;
  const std::int64_t group = score & ((1 << panels.group_bits) - 1);
  std::int64_t code = (panels.grouped ? group : group / kBlocks) * kBlocks * lanes_ + lane * kBlocks;
  if (!panels.grouped) code += group % kBlocks;
  const std::int64_t end = std::min(code + (panels.grouped ? kBlocks : 1), segment.codes);
  for (; code < end; ++code) {
    candidates_.data()[count_++] = static_cast<std::int32_t>(segment.first_code + code);
  }
}

void Nearby::sqdist(const double *vector, std::int64_t first, std::int64_t count, double *out) {
  const Pairs all{zeros_.data(), candidates_.data() + first, count, kCapacity};
  isa_.sqdist(vector, packed_.vectors(), packed_.wide, packed_.stride, all, out);
}

std::vector<std::int64_t> places_of_codes(const Packed &packed) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(packed.given), -1);
  for (std::int64_t place = 0; place < packed.distinct; ++place) {
    places[static_cast<std::size_t>(packed.index(place))] = place;
  }
  return places;
}

}  // namespace certvq
