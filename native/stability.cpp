#include "stability.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "block.h"
#include "bounds.h"
#include "share.h"

namespace certvq {
namespace {

constexpr std::int64_t kSlots = 128;            // lanes of all segments: few candidates share one
constexpr std::int64_t kCacheBytes = 24 << 10;  // of panels, which stay while a block passes
constexpr std::int64_t kCapacity = 1024;        // candidates of a row; more are measured densely
constexpr double kSmallGap = 0x1p-12;           // relative; below, a second formula errs less

/// Panels whose lanes remember their own two best groups.
struct Segment {
  Panels panels;
  std::int64_t first_code;
  std::int64_t codes;  // from the first to the end of the codebook
};

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

class Bounder {
 public:
  Bounder(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
          const std::vector<std::int64_t> &places, double *radii, Progress &progress,
          std::function<void()> poll);

  /// Bound rows [first, last), at most Block::most_rows of them.
  void bound(std::int64_t first, std::int64_t last);

 private:
  void split();
  void scan();
  double radius(std::int64_t row, std::int64_t own);
  void guess(std::int64_t row, std::int64_t own);
  bool find(std::int64_t row, double radius);
  double first_border(std::int64_t row, std::int64_t own);
  double measure(std::int64_t row, std::int64_t own, double radius);
  double border(std::int64_t row, std::int64_t code, double sqdist, double between);
  double measure_all(std::int64_t row, std::int64_t own, double radius);
  void sqdist(const double *row, std::int64_t first, std::int64_t count, double *out);
  void append(const Segment &segment, std::int32_t score, int lane);

  std::int32_t *best(std::size_t segment, std::int64_t row) {
    return best_.data() + (static_cast<std::int64_t>(segment) * rows_ + row) * 2 * lanes_;
  }

  const Packed &packed_;
  const Isa &isa_;
  const Matrix &latents_;
  const std::int64_t *codes_;
  const std::vector<std::int64_t> &places_;  // of the user's codes; -1 if an equal one is lower
  double *radii_;
  Progress &progress_;
  std::function<void()> poll_;
  int lanes_;
  std::int64_t rows_;  // of a block, at most
  double dim_;
  Block block_;
  std::vector<Segment> segments_;
  std::int64_t segment_panels_ = 0;
  std::vector<std::int32_t> peaks_;  // the greatest score of each segment, of the row at hand
  Aligned<std::int32_t> best_;   // (segments, block, 2, lanes)
  Aligned<double> own_vector_;   // (stride,), of the given code
  Aligned<double> other_vector_;
  double own_sqdist_ = 0.0;      // of the row at hand to the code that was given
  Aligned<std::int32_t> zeros_;  // (kCapacity,), the rows of the pairs
  Aligned<std::int32_t> candidates_;
  std::int64_t count_ = 0;  // of candidates
  Aligned<double> sqdist_;   // of the candidates to the row
  Aligned<double> between_;  // and to the given code
};

Bounder::Bounder(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
                 const std::vector<std::int64_t> &places, double *radii, Progress &progress,
                 std::function<void()> poll)
    : packed_(packed),
      isa_(*packed.isa),
      latents_(latents),
      codes_(codes),
      places_(places),
      radii_(radii),
      progress_(progress),
      poll_(std::move(poll)),
      lanes_(packed.isa->lanes),
      rows_(Block::most_rows(packed)),
      dim_(static_cast<double>(packed.dim)),
      block_(packed),
      own_vector_(packed.stride),
      other_vector_(packed.stride),
      zeros_(kCapacity),
      candidates_(kCapacity),
      sqdist_(kCapacity),
      between_(kCapacity) {
  split();
  peaks_.resize(segments_.size());
  best_ = Aligned<std::int32_t>(static_cast<std::int64_t>(segments_.size()) * rows_ * 2 * lanes_);
  std::fill_n(zeros_.data(), kCapacity, 0);
}

void Bounder::split() {
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

void Bounder::bound(std::int64_t first, std::int64_t last) {
  const Refusal refusal = block_.read(latents_, first, last - first);
  if (refusal != Refusal::kNone) return progress_.refuse(refusal);
  if (packed_.distinct > 1) {
    block_.quantize();
    scan();
  }
  for (std::int64_t row = 0; row < last - first && !progress_.stopped(); ++row) {
    const std::int64_t own = places_[static_cast<std::size_t>(codes_[first + row])];
    if (own < 0) {
      radii_[first + row] = 0.0;  // an equal vector has a lower index
    } else {
      radii_[first + row] = packed_.distinct > 1 ? radius(row, own) : HUGE_VAL;
    }
  }
}

void Bounder::scan() {
  const std::int64_t panel_bytes = packed_.panels.pairs * kBlocks * lanes_ * 4;
  const std::int64_t step = std::max(std::int64_t{1}, kCacheBytes / panel_bytes);
  for (std::size_t segment = 0; segment < segments_.size(); ++segment) {
    const Panels &panels = segments_[segment].panels;
    const Scan scan{block_.integers(0), block_.shifts(), block_.tiled(), best(segment, 0)};
    for (std::int64_t first = 0; first < panels.count; first += step) {
      isa_.scan(scan, panels, first, std::min(first + step, panels.count));
      poll_();
      if (progress_.stopped()) return;
    }
  }
}

/// The filter needs a radius to say which codes can lower it: a few near codes give one.
double Bounder::radius(std::int64_t row, std::int64_t own) {
  packed_.read_vector(own, own_vector_.data());
  guess(row, own);
  const double guessed = measure(row, own, first_border(row, own));
  if (guessed == 0.0) return 0.0;
  if (!find(row, guessed)) return measure_all(row, own, guessed);
  sqdist(block_.exact(row), 0, count_, sqdist_.data());
  return measure(row, own, guessed);
}

/// Make candidates of the group of the given code and of the best one besides it. Both are then
/// taken out of the scores: the second best group of their lane stands for the best.
void Bounder::guess(std::int64_t row, std::int64_t own) {
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

/// Measure the candidates' squared distances; return the distance to the border of the nearest one
/// besides the given code.
double Bounder::first_border(std::int64_t row, std::int64_t own) {
  const std::int32_t *codes = candidates_.data();
  sqdist(block_.exact(row), 0, count_, sqdist_.data());
  std::int64_t nearest = -1;
  for (std::int64_t pair = 0; pair < count_; ++pair) {
    if (codes[pair] == own) {
      own_sqdist_ = sqdist_.data()[pair];
    } else if (nearest < 0 || sqdist_.data()[pair] < sqdist_.data()[nearest]) {
      nearest = pair;
    }
  }
  if (nearest < 0) return HUGE_VAL;
  sqdist(own_vector_.data(), nearest, 1, between_.data());
  return border(row, codes[nearest], sqdist_.data()[nearest], *between_.data());
}

/// Bound the distance to the border of a code from below; rounding counts where the gap is small.
double Bounder::border(std::int64_t row, std::int64_t code, double sqdist, double between) {
  const double dim = dim_;
  const double nearer = own_sqdist_;
  const double plain = bounds::border_distance_of_sqdist(sqdist, nearer, between, dim);
  if (sqdist - nearer > kSmallGap * sqdist) return plain;
  const double *z = block_.exact(row);
  const double *own = own_vector_.data();
  double *other = other_vector_.data();
  packed_.read_vector(code, other);
  double product = 0.0;
  for (std::int64_t d = 0; d < packed_.dim; ++d) {
    product += (own[d] - other[d]) * ((z[d] - own[d]) + (z[d] - other[d]));
  }
  return std::max(plain,
                  bounds::border_distance_of_product(product, sqdist, nearer, between, dim));
}

/// Make candidates of all codes whose border may be nearer than `radius`, but for the groups that
/// were guessed; false if they are too many.
bool Bounder::find(std::int64_t row, double radius) {
  const double scale = block_.scale(row);
  const double inverse = 1.0 / scale;
  const double reach = bounds::border_reach(own_sqdist_, radius, dim_);
  const double moved = bounds::fixed_point_residual(block_.residual(row), dim_) +
                       packed_.code_residual * inverse;
  const std::int32_t threshold = whole(bounds::fixed_point_score_of_distance(
      block_.norm(row), reach * packed_.scale * inverse, moved * packed_.widen, scale,
      static_cast<double>((1 << packed_.panels.group_bits) - 1)));
  count_ = 0;
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
void Bounder::append(const Segment &segment, std::int32_t score, int lane) {
  const Panels &panels = segment.panels;
  const std::int64_t group = score & ((1 << panels.group_bits) - 1);
  std::int64_t code = (panels.grouped ? group : group / kBlocks) * kBlocks * lanes_ + lane * kBlocks;
  if (!panels.grouped) code += group % kBlocks;
  const std::int64_t end = std::min(code + (panels.grouped ? kBlocks : 1), segment.codes);
  for (; code < end; ++code) {
    candidates_.data()[count_++] = static_cast<std::int32_t>(segment.first_code + code);
  }
}

void Bounder::sqdist(const double *row, std::int64_t first, std::int64_t count, double *out) {
  const Pairs all{zeros_.data(), candidates_.data() + first, count, kCapacity};
  isa_.sqdist(row, packed_.vectors(), packed_.wide, packed_.stride, all, out);
}

/// Return the least distance to a border of the candidates, whose squared distances are measured, or
/// `radius` if that is less.
double Bounder::measure(std::int64_t row, std::int64_t own, double radius) {
  std::int32_t *codes = candidates_.data();
  double *distances = sqdist_.data();
  double *between = between_.data();
  const double limit = bounds::sqdist_limit(bounds::border_reach(own_sqdist_, radius, dim_), dim_);
  std::int64_t kept = 0;
  for (std::int64_t pair = 0; pair < count_; ++pair) {
    if (codes[pair] == own || distances[pair] > limit) continue;
    codes[kept] = codes[pair];
    distances[kept++] = distances[pair];
  }
  sqdist(own_vector_.data(), 0, kept, between);
  for (std::int64_t pair = 0; pair < kept; ++pair) {
    radius = std::min(radius, border(row, codes[pair], distances[pair], between[pair]));
  }
  return radius;
}

double Bounder::measure_all(std::int64_t row, std::int64_t own, double radius) {
  for (std::int64_t first = 0; first < packed_.distinct && radius > 0.0; first += kCapacity) {
    count_ = std::min(kCapacity, packed_.distinct - first);
    for (std::int64_t pair = 0; pair < count_; ++pair) {
      candidates_.data()[pair] = static_cast<std::int32_t>(first + pair);
    }
    sqdist(block_.exact(row), 0, count_, sqdist_.data());
    radius = measure(row, own, radius);
    poll_();
    if (progress_.stopped()) return 0.0;
  }
  return radius;
}

}  // namespace

Refusal stability(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
                  int threads, double *radii, const std::function<bool()> &interrupted) {
  const Work work{latents.rows, Block::most_rows(packed),
                  static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  std::vector<std::int64_t> places(static_cast<std::size_t>(packed.given), -1);
  for (std::int64_t place = 0; place < packed.distinct; ++place) {
    places[static_cast<std::size_t>(packed.index(place))] = place;
  }
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto own = std::make_shared<Bounder>(packed, latents, codes, places, radii, progress, poll);
    return Share{[own](std::int64_t first, std::int64_t last) { own->bound(first, last); }, [] {}};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
