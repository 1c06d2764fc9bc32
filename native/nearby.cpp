#include "nearby.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>
#include <utility>

#include "bounds.h"
#include "together.h"

namespace certvq {
namespace {

constexpr std::int64_t kMostLanes = 128;        // of all parts: few candidates share one
constexpr std::int64_t kPartGroups = 4;         // of a lane and part, at least: parts take time
constexpr std::int64_t kNearParts = 2;          // a power of two, if panels are left out
constexpr std::int64_t kCacheBytes = 24 << 10;  // of panels, which stay while a block passes
constexpr std::int64_t kSortedRows = 1 << 16;   // rows whose neighbours are brought together
constexpr std::int64_t kMostDims = 8;           // of a codebook that is sorted
constexpr double kWorthSorting = 0.6;           // share of the panels, as in worker.cpp
constexpr int kFewPlaces = 2;                   // of more nearest codes, too many share a lane

}  // namespace

std::int64_t Nearby::share_rows(const Packed &packed) {
  return packed.sorted ? kSortedRows : Block::most_rows(packed);
}

Nearby::Nearby(const Packed &packed, const std::vector<std::int64_t> &places, Progress &progress,
               std::function<void()> poll)
    : packed_(packed),
      isa_(*packed.isa),
      places_(places),
      progress_(progress),
      poll_(std::move(poll)),
      lanes_(packed.isa->lanes),
      rows_(Block::most_rows(packed)),
      width_(packed.panels.grouped ? kBlocks : 1),
      dim_(static_cast<double>(packed.dim)),
      block_(packed),
      numbers_(rows_),
      own_(rows_),
      rival_(rows_),
      own_sqdist_(rows_),
      least_(rows_),
      next_(rows_),
      nearest_(rows_),
      guess_{own_sqdist_.data(), least_.data(), next_.data(), nearest_.data()},
      reach_(rows_),
      limit_(rows_),
      leading_(rows_),
      thresholds_(rows_),
      clear_(rows_),
      crowded_(static_cast<std::size_t>(rows_)),
      guess_rows_(2 * rows_),
      guess_codes_(2 * rows_),
      guessed_sqdist_(2 * rows_ * width_),
      pair_rows_(kCapacity),
      pair_codes_(kCapacity),
      collected_sqdist_(kCapacity) {
  const std::int64_t panels = packed.panels.count;
  const std::int64_t most = std::max<std::int64_t>(1, kMostLanes / lanes_);
  const std::int64_t groups = packed.panels.grouped ? panels : panels * kBlocks;  // of a lane
  const std::int64_t parts = std::clamp<std::int64_t>(groups / kPartGroups, 1, std::min(most, panels));
  part_panels_ = (panels + parts - 1) / parts;
  for (std::int64_t first = 0; first < panels; first += part_panels_) {
    parts_.push_back({first, std::min(first + part_panels_, panels)});
  }
  near_parts_ = std::min(most, static_cast<std::int64_t>(kNearParts));
  const std::int64_t slots =
      std::max(static_cast<std::int64_t>(parts_.size()), near_parts_) * rows_ * lanes_;
  best_ = Aligned<std::int32_t>(2 * slots);
  std::fill_n(best_.data(), 2 * slots, kNothing);  // also of rows that a block lacks
  most_groups_ = 2 * slots;  // lanes of which all groups are listed take the second half
  group_rows_ = Aligned<std::int32_t>(most_groups_);
  group_codes_ = Aligned<std::int32_t>(most_groups_);
  group_sqdist_ = Aligned<double>(most_groups_ * width_ + kPad);
  std::fill_n(reach_.data(), rows_, 0.0);
  if (packed.sorted) {
    scratch_ = Aligned<std::int32_t>(near_parts_ * rows_ * 2 * lanes_);
    gaps_ = Aligned<double>(packed.boxes.stride);
  }
}

void Nearby::each_block(const Matrix &latents, const std::int64_t *codes, std::int64_t first,
                        std::int64_t last, const Reach &reach, const std::function<void()> &use) {
  near_ = packed_.sorted && sorting_pays_;
  if (near_) {
    read_share(latents, first, last);
    order(codes, first, last);
  }
  tiles_ = scanned_ = 0;
  for (std::int64_t begin = first; begin < last && !progress_.stopped(); begin += rows_) {
    const std::int64_t count = std::min(rows_, last - begin);
    const Refusal refusal = read_block(latents, first, begin, count);
    if (refusal != Refusal::kNone) return progress_.refuse(refusal);
    for (std::int64_t row = 0; row < count; ++row) {
      const auto number_of_row = static_cast<std::size_t>(number(row));
      own_.data()[row] = static_cast<std::int32_t>(places_[static_cast<std::size_t>(codes[number_of_row])]);
    }
    if (packed_.distinct > 1) {
      block_.quantize();
      if (near_) {
        scan_near(count, [&](std::int64_t tile, std::int64_t rows) {
          guess_near(tile, rows);
          reach(tile, rows);
        });
      } else {
        scan();
      }
      if (progress_.stopped()) return;
      make_guess(memory(), 0, count);
      reach(0, count);
      find(count);
    }
    use();
  }
  weigh_sorting();
}

void Nearby::each_ranked(const Matrix &latents, std::int64_t first, std::int64_t last, int places,
                         const std::function<void()> &use) {
  near_ = packed_.sorted && sorting_pays_ && places <= kFewPlaces;
  if (near_) {
    read_share(latents, first, last);
    order(first, last);
  }
  tiles_ = scanned_ = 0;
  for (std::int64_t begin = first; begin < last && !progress_.stopped(); begin += rows_) {
    const std::int64_t count = std::min(rows_, last - begin);
    const Refusal refusal = read_block(latents, first, begin, count);
    if (refusal != Refusal::kNone) return progress_.refuse(refusal);
    block_.quantize();
    if (near_) {
      scan_near(count, [&](std::int64_t tile, std::int64_t rows) { limit_ranked(tile, rows, places); });
    } else {
      scan();
    }
    if (progress_.stopped()) return;
    isa_.leading(memory(), block_.tiled(), packed_.panels, packed_.distinct, places, leading_.data());
    isa_.certify(leading_.data(), block_.tiled(), packed_.panels, block_.quantized(),
                 thresholds_.data(), clear_.data());
    list_groups(count);
    use();
  }
  weigh_sorting();
}

void Nearby::weigh_sorting() {
  const double all = static_cast<double>(tiles_) * static_cast<double>(packed_.panels.count);
  if (near_) sorting_pays_ = static_cast<double>(scanned_) < kWorthSorting * all;
}

/// Bring rows of the same code together, so that a tile needs few panels.
void Nearby::order(const std::int64_t *codes, std::int64_t first, std::int64_t last) {
  std::vector<std::int32_t> starts(static_cast<std::size_t>(packed_.distinct) + 1, 0);
  const auto key = [&](std::int64_t row) {
    return static_cast<std::size_t>(
        std::max<std::int64_t>(places_[static_cast<std::size_t>(codes[row])], 0));
  };
  for (std::int64_t row = first; row < last; ++row) ++starts[key(row) + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  order_.resize(static_cast<std::size_t>(last - first));
  for (std::int64_t row = first; row < last; ++row) {
    order_[static_cast<std::size_t>(starts[key(row)]++)] = row;
  }
}

/// Bring neighbours together.
void Nearby::order(std::int64_t first, std::int64_t last) {
  const auto places = together(share_.data(), last - first, packed_.dim, packed_.stride);
  order_.resize(places.size());
  std::transform(places.begin(), places.end(), order_.begin(),
                 [first](std::int32_t place) { return first + place; });
}

/// Read rows [first, last) once, in their order.
void Nearby::read_share(const Matrix &latents, std::int64_t first, std::int64_t last) {
  const std::int64_t entries = (last - first) * packed_.stride;
  if (static_cast<std::int64_t>(share_.bytes() / sizeof(double)) < entries) {
    share_ = Aligned<double>(entries);
  }
  isa_.read(latents, first, last - first, packed_.stride, share_.data());
}

/// Fill the block with `count` rows from `begin` on, in the order of the share that begins at `first`.
Refusal Nearby::read_block(const Matrix &latents, std::int64_t first, std::int64_t begin, std::int64_t count) {
  if (!near_) {
    std::iota(numbers_.data(), numbers_.data() + count, begin);
    return block_.read(latents, begin, count);
  }
  std::copy_n(order_.data() + (begin - first), count, numbers_.data());
  copy_rows(share_.data(), count, packed_.stride,
            [this, first](std::int64_t row) { return number(row) - first; }, block_.entries(0));
  return block_.examine(count);
}

Memory Nearby::memory() {
  if (near_) return {best_.data(), near_parts_, rows_ * 2 * lanes_, 0};
  return {best_.data(), static_cast<std::int64_t>(parts_.size()), rows_ * 2 * lanes_, part_panels_};
}

void Nearby::scan() {
  const Panels &panels = packed_.panels;
  const std::int64_t panel_bytes = panels.pairs * kBlocks * lanes_ * 4;
  const std::int64_t step = std::max(std::int64_t{1}, kCacheBytes / panel_bytes);
  std::int32_t *best = best_.data();
  for (const Run &part : parts_) {
    Scan scan{block_.integers(0), block_.shifts(), block_.rows(), best, part.first};
    for (std::int64_t first = part.first; first < part.last; first += step) {
      isa_.scan(scan, panels, first, std::min(first + step, part.last));
      poll_();
      if (progress_.stopped()) return;
    }
    best += rows_ * 2 * lanes_;
  }
}

/// Compare each tile with the panels whose boxes are near enough: first those that its own box
/// meets, or the nearest one, then those within the limit that these suggest.
void Nearby::scan_near(std::int64_t count, const Reach &limit) {
  const std::int64_t panels = packed_.panels.count;
  const std::int64_t row_size = 2 * lanes_;
  runs_.clear();
  runs_begin_.clear();
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
    const double nearest = *std::min_element(gaps, gaps + panels);
    runs_begin_.push_back(runs_.size());
    const auto place = [&](std::int64_t part) { return (part * rows_ + tile) * row_size; };
    for (std::int64_t part = 0; part < near_parts_; ++part) {
      std::fill_n(best_.data() + place(part), kTileRows * row_size, kNothing);
    }
    scan_within(tile, -1.0, nearest);
    limit(tile, rows);
    // Gaps are computed like squared distances, and rounded like them.
    scan_within(tile, nearest, *std::max_element(limit_.data() + tile, limit_.data() + tile + rows));
    ++tiles_;
    poll_();
    if (progress_.stopped()) return;
  }
  runs_begin_.push_back(runs_.size());
}

/// Guess by what is remembered of a tile so far, which stays.
void Nearby::guess_near(std::int64_t first, std::int64_t count) {
  const std::int64_t row_size = 2 * lanes_;
  for (std::int64_t part = 0; part < near_parts_; ++part) {
    const std::int64_t place = (part * rows_ + first) * row_size;
    std::copy_n(best_.data() + place, kTileRows * row_size, scratch_.data() + place);
  }
  make_guess({scratch_.data(), near_parts_, rows_ * row_size, 0}, first, count);
}

/// Limit how far the `places` nearest codes of each row can be, given what is remembered of a tile so far.
/// Proof: by fixed_point_distance as many rounded codes are within `distance` of the rounded row, and
/// rounding moved row and codes by `moved` at most.
void Nearby::limit_ranked(std::int64_t first, std::int64_t count, int places) {
  const Quantized quantized = block_.quantized();
  const double names = static_cast<double>((1 << packed_.panels.group_bits) - 1);
  const Memory tile{best_.data() + first * 2 * lanes_, near_parts_, rows_ * 2 * lanes_, 0};
  isa_.leading(tile, count, packed_.panels, packed_.distinct, places, leading_.data() + first);
  const double scale = quantized.scales[first / kTileRows];
  for (std::int64_t row = first; row < first + count; ++row) {
    const std::int32_t score = leading_.data()[row];
    const double distance = bounds::fixed_point_distance(quantized.norms[row] * (scale * scale),
                                                         static_cast<double>(score), scale, names);
    const double moved = bounds::fixed_point_residual(quantized.residuals[row], dim_) * scale +
                         quantized.code_residual;
    const double reach =
        (distance + moved * quantized.widen) / quantized.unit * (1.0 + bounds::gamma(8.0));
    const double limit = score == kNothing ? DBL_MAX : bounds::sqdist_limit(reach, dim_);
    limit_.data()[row] = std::min(limit, DBL_MAX);  // padding is infinitely far
  }
}

/// Compare a tile with the panels whose gap is above `from` and at most `to`, run by run; parts take
/// turns in remembering, as neighbours have most candidates.
void Nearby::scan_within(std::int64_t tile, double from, double to) {
  const double *gaps = gaps_.data();
  Scan scan{block_.integers(tile), block_.shifts() + tile, kTileRows, nullptr, -1};
  for (std::int64_t panel = 0; panel < packed_.panels.count;) {
    if (!(gaps[panel] > from && gaps[panel] <= to)) {
      ++panel;
      continue;
    }
    const std::int64_t first = panel;
    while (panel < packed_.panels.count && gaps[panel] > from && gaps[panel] <= to) ++panel;
    const auto part = static_cast<std::int64_t>(runs_.size()) & (near_parts_ - 1);
    scan.best = best_.data() + (part * rows_ + tile) * 2 * lanes_;
    isa_.scan(scan, packed_.panels, first, panel);
    scanned_ += panel - first;
    runs_.push_back({first, panel});
  }
}

Exact Nearby::described() const {
  return {block_.exact(0), packed_.vectors(), packed_.wide, packed_.distinct, packed_.stride, packed_.narrow(), 0.0,
          0.0};
}

/// Measure the groups of the own codes and of the best ones besides, and take both out of what is
/// remembered.
void Nearby::make_guess(const Memory &memory, std::int64_t first, std::int64_t count) {
  const Panels &panels = packed_.panels;
  isa_.rivals(memory, first, count, panels, own_.data(), rival_.data());
  std::int32_t *rows = guess_rows_.data();
  std::int32_t *codes = guess_codes_.data();
  const std::int32_t groups = ~static_cast<std::int32_t>(width_ - 1);  // width is a power of two
  for (std::int64_t row = 0; row < count; ++row) {
    rows[2 * row] = rows[2 * row + 1] = static_cast<std::int32_t>(first + row);
    codes[2 * row] = std::max(own(first + row), 0) & groups;
    codes[2 * row + 1] = rival_.data()[first + row];
  }
  guessed_ = {rows, codes, 2 * count, 2 * rows_};
  double *sqdist = guessed_sqdist_.data();
  isa_.group_sqdists(described(), panels.grouped, guessed_, sqdist + first * 2 * width_);
  isa_.choose(first, count, panels.grouped, own_.data(), rival_.data(), sqdist, guess_);
}

void Nearby::find(std::int64_t count) {
  const double names = static_cast<double>((1 << packed_.panels.group_bits) - 1);
  isa_.score_limits(block_.quantized(), block_.tiled(), names, reach_.data(), thresholds_.data());
  list_groups(count);
}

/// List and measure the groups that reach the thresholds.
void Nearby::list_groups(std::int64_t count) {
  const Panels &panels = packed_.panels;
  groups_ = {group_rows_.data(), group_codes_.data(), 0, most_groups_};
  isa_.passing(memory(), count, panels, thresholds_.data(), groups_, crowded_.data());
  isa_.group_sqdists(described(), panels.grouped, groups_, group_sqdist_.data());
}

bool Nearby::collect(std::int64_t row) {
  collected_ = {pair_rows_.data(), pair_codes_.data(), 0, kCapacity};
  const std::uint32_t full = crowded_[static_cast<std::size_t>(row)];
  if (near_) {
    const auto tile = static_cast<std::size_t>(row / kTileRows);
    const auto parts = static_cast<std::size_t>(near_parts_);
    for (std::size_t run = runs_begin_[tile]; run < runs_begin_[tile + 1]; ++run) {
      if ((full >> (run & (parts - 1)) & 1) != 0 && !collect(row, runs_[run])) return false;
    }
  } else {
    for (std::uint32_t left = full; left != 0; left &= left - 1) {
      if (!collect(row, parts_[static_cast<std::size_t>(__builtin_ctz(left))])) return false;
    }
  }
  isa_.sqdist(block_.exact(0), packed_.vectors(), packed_.wide, packed_.stride, collected_,
              collected_sqdist_.data());
  return true;
}

bool Nearby::collect(std::int64_t row, const Run &run) {
  const std::int64_t panel_codes = kBlocks * lanes_;
  const std::int64_t code = run.first * panel_codes;
  Panels panels = packed_.panels;
  panels.integers += run.first * panels.pairs * panel_codes * 2;
  panels.offsets += code;
  panels.count = run.last - run.first;
  std::int64_t seen = collected_.count;
  if (!isa_.collect(block_.integers(row), block_.shifts()[row], thresholds_.data()[row], panels,
                    packed_.distinct - code, static_cast<std::int32_t>(row), collected_)) {
    return false;
  }
  for (; seen < collected_.count; ++seen) collected_.codes[seen] += static_cast<std::int32_t>(code);
  return true;
}

void Nearby::list(std::int64_t row, std::int64_t first, std::int64_t count) {
  collected_ = {pair_rows_.data(), pair_codes_.data(), count, kCapacity};
  std::fill_n(collected_.rows, count, static_cast<std::int32_t>(row));
  std::iota(collected_.codes, collected_.codes + count, static_cast<std::int32_t>(first));
  isa_.sqdist(block_.exact(0), packed_.vectors(), packed_.wide, packed_.stride, collected_,
              collected_sqdist_.data());
}

std::vector<std::int64_t> places_of_codes(const Packed &packed) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(packed.given), -1);
  for (std::int64_t place = 0; place < packed.distinct; ++place) {
    places[static_cast<std::size_t>(packed.index(place))] = place;
  }
  return places;
}

}  // namespace certvq
