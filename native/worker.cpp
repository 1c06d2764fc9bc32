#include "worker.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bounds.h"
#include "exact.h"

namespace certvq {
namespace {

constexpr std::int64_t kMostRows = 96;
constexpr std::int64_t kBlockBytes = 1 << 18;   // of exact rows
constexpr std::int64_t kCacheBytes = 24 << 10;  // of panels, which stay while a block passes
constexpr double kLargestSquare = 0x1p+800;
constexpr std::int64_t kFewCandidates = 256;  // more are compared densely

}  // namespace

std::int64_t Worker::block_rows(const Packed &packed) {
  const std::int64_t fitting = kBlockBytes / (packed.stride * static_cast<std::int64_t>(sizeof(double)));
  return std::clamp(fitting / kTileRows * kTileRows, std::int64_t{kTileRows}, kMostRows);
}

Worker::Worker(const Packed &packed, const Matrix &latents, const Results &results,
               Progress &progress, std::function<void()> poll)
    : packed_(packed),
      isa_(*packed.isa),
      latents_(latents),
      results_(results),
      progress_(progress),
      poll_(std::move(poll)) {
  const std::int64_t rows = block_rows(packed);
  const std::int64_t most = isa_.lanes * kBlocks;  // candidates of a row that is not crowded
  pair_capacity_ = rows * most + kFewCandidates + most;
  exact_ = Aligned<double>(rows * packed.stride);
  squares_ = Aligned<double>(rows);
  integers_ = Aligned<std::int32_t>(rows * packed.panels.pairs);
  best_ = Aligned<std::int32_t>(rows * 2 * isa_.lanes);
  shifts_ = Aligned<std::uint8_t>(rows);
  reach_ = Aligned<std::int64_t>(rows);
  clear_ = Aligned<double>(rows);
  thresholds_ = Aligned<std::int32_t>(rows);
  crowded_ = Aligned<std::uint8_t>(rows);
  pair_rows_ = Aligned<std::int32_t>(pair_capacity_);
  pair_codes_ = Aligned<std::int32_t>(pair_capacity_);
  pair_sqdist_ = Aligned<double>(pair_capacity_);
  vector_ = Aligned<double>(packed.stride);
}

void Worker::decide(std::int64_t first, std::int64_t last) {
  const std::int64_t count = last - first;
  const std::int64_t tiled = (count + kTileRows - 1) / kTileRows * kTileRows;
  read(first, count);
  if (progress_.stopped()) return;
  quantize(count, tiled);
  scan(tiled);
  if (progress_.stopped()) return;
  resolve(first, count);
}

void Worker::read(std::int64_t first, std::int64_t count) {
  isa_.read(latents_, first, count, packed_.stride, exact_.data());
  isa_.squares(exact_.data(), packed_.centre.data(), count, packed_.stride, squares_.data());
  for (std::int64_t row = 0; row < count; ++row) {
    const double squared = squares_.data()[row];
    if (squared < kLargestSquare) continue;
    double poison = 0.0;
    const double *exact = exact_.data() + row * packed_.stride;
    for (std::int64_t d = 0; d < packed_.dim; ++d) poison += exact[d] * 0.0;
    progress_.refuse(poison == 0.0 ? Refusal::kExtreme : Refusal::kNotFinite);
    return;
  }
}

/// Choose for each tile how often to halve the units, so that its greatest norm fits.
void Worker::quantize(std::int64_t count, std::int64_t tiled) {
  const auto dim = static_cast<double>(packed_.dim);
  const double names = static_cast<double>((std::int64_t{1} << packed_.panels.group_bits) - 1);
  const std::int64_t pairs = packed_.panels.pairs;
  for (std::int64_t tile = 0; tile < tiled; tile += kTileRows) {
    const std::int64_t end = std::min(tile + kTileRows, count);
    const double greatest = *std::max_element(squares_.data() + tile, squares_.data() + end);
    double scale = packed_.scale;
    int shift = 0;
    const double norm = bounds::norm_upper(greatest, dim);
    if (norm * scale > bounds::FIXED_POINT_NORM) {
      std::frexp(norm * scale / bounds::FIXED_POINT_NORM, &shift);
      scale = std::ldexp(scale, -shift);
    }
    const auto halvings = static_cast<std::uint8_t>(std::min(shift, 31));
    for (std::int64_t row = tile; row < tile + kTileRows; ++row) {
      shifts_.data()[row] = halvings;
      if (row >= end) {
        std::fill_n(integers_.data() + row * pairs, pairs, 0);
        continue;
      }
      isa_.quantize(exact_.data() + row * packed_.stride, packed_.centre.data(), scale, pairs,
                    integers_.data() + row * pairs);
      const double units = bounds::norm_upper(squares_.data()[row], dim) * scale;
      const double radius = bounds::fixed_point_radius(units, packed_.code_residual, dim, names);
      reach_.data()[row] = static_cast<std::int64_t>(2.0 * radius) + 1;
      // Scores are half as far apart as squared distances, and each errs by half the reach.
      clear_.data()[row] = 4.0 * static_cast<double>(reach_.data()[row]) / (scale * packed_.scale);
    }
  }
}

void Worker::scan(std::int64_t tiled) {
  const Panels &panels = packed_.panels;
  const std::int64_t panel_bytes = panels.pairs * kBlocks * isa_.lanes * 4;
  const std::int64_t step = std::max(std::int64_t{1}, kCacheBytes / panel_bytes);
  std::fill_n(best_.data(), tiled * 2 * isa_.lanes, kNothing);
  const Scan scan{integers_.data(), shifts_.data(), tiled, best_.data()};
  for (std::int64_t first = 0; first < panels.count; first += step) {
    isa_.scan(scan, panels, first, std::min(first + step, panels.count));
    poll_();
    if (progress_.stopped()) return;
  }
}

void Worker::resolve(std::int64_t first, std::int64_t count) {
  const Scan scan{integers_.data(), shifts_.data(), count, best_.data()};
  Pairs pairs{pair_rows_.data(), pair_codes_.data(), 0, pair_capacity_};
  isa_.candidates(scan, count, packed_.panels, reach_.data(), packed_.distinct, pairs,
                  thresholds_.data(), crowded_.data());
  isa_.sqdist(exact_.data(), packed_.vectors(), packed_.wide, packed_.stride, pairs,
              pair_sqdist_.data());
  for (std::int64_t begin = 0; begin < pairs.count;) {
    const std::int32_t row = pairs.rows[begin];
    std::int64_t end = begin + 1;
    while (end < pairs.count && pairs.rows[end] == row) ++end;
    resolve_row(first + row, row, begin, end);
    begin = end;
  }
  for (std::int64_t row = 0; row < count; ++row) {
    if (!crowded_.data()[row]) continue;
    pairs.count = 0;
    pairs.capacity = kFewCandidates;
    if (!isa_.collect(integers_.data() + row * packed_.panels.pairs, shifts_.data()[row],
                      thresholds_.data()[row], packed_.panels, packed_.distinct,
                      static_cast<std::int32_t>(row), pairs)) {
      aside_.push_back(first + row);
      continue;
    }
    isa_.sqdist(exact_.data(), packed_.vectors(), packed_.wide, packed_.stride, pairs,
                pair_sqdist_.data());
    resolve_row(first + row, row, 0, pairs.count);
  }
  if (static_cast<std::int64_t>(aside_.size()) >= kMostRows) finish();
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
  const double clear = sqdist[nearest] + clear_.data()[local];
  std::uint8_t decided_by = codes[begin] / kBlocks == codes[end - 1] / kBlocks ? kFilter : kRefined;
  for (std::int64_t pair = begin; pair < end; ++pair) {
    if (pair != nearest && !(sqdist[pair] > clear)) decided_by = kRefined;
  }
  std::int64_t code = codes[nearest];
  if (end - begin > 1) {
    const double upper = bounds::sqdist_upper(sqdist[nearest], dim);
    ExactRow row_among(exact_.data() + local * packed_.stride, packed_.dim);
    for (std::int64_t pair = begin; pair < end; ++pair) {
      if (pair == nearest || bounds::sqdist_lower(sqdist[pair], dim) > upper) continue;
      if (decided_by != kExact) {
        packed_.read_vector(code, vector_.data());
        row_among.consider(vector_.data(), code);
        decided_by = kExact;
      }
      packed_.read_vector(codes[pair], vector_.data());
      row_among.consider(vector_.data(), codes[pair]);
    }
    if (decided_by == kExact) {
      code = row_among.nearest();
      for (std::int64_t pair = begin; pair < end; ++pair) {
        if (codes[pair] == code) nearest = pair;
      }
    }
  }
  results_.codes[row] = packed_.index(code);
  results_.decided_by[row] = decided_by;
  results_.sqdist[row] = sqdist[nearest];
}

void Worker::finish() {
  const std::int64_t block = block_rows(packed_);
  for (std::int64_t first = 0; first < static_cast<std::int64_t>(aside_.size()); first += block) {
    dense(aside_.data() + first, std::min(block, static_cast<std::int64_t>(aside_.size()) - first));
  }
  aside_.clear();
}

/// Compare rows with every code vector in float64; keep what may be nearest.
void Worker::dense(const std::int64_t *rows, std::int64_t count) {
  struct Row {
    double least_upper = HUGE_VAL;
    std::vector<std::pair<double, std::int32_t>> open;  // computed squared distance and code
  };
  const auto dim = static_cast<double>(packed_.dim);
  std::vector<Row> states(static_cast<std::size_t>(count));
  Aligned<double> transposed(packed_.dim * kDenseCodes);
  Aligned<double> sqdist(kDenseCodes);
  for (std::int64_t row = 0; row < count; ++row) {
    isa_.read(latents_, rows[row], 1, packed_.stride, exact_.data() + row * packed_.stride);
  }
  for (std::int64_t first = 0; first < packed_.distinct; first += kDenseCodes) {
    const std::int64_t codes = std::min<std::int64_t>(kDenseCodes, packed_.distinct - first);
    isa_.transpose(packed_.vectors(), packed_.wide, first, codes, packed_.stride, packed_.dim,
                   transposed.data());
    for (std::int64_t row = 0; row < count; ++row) {
      Row &state = states[static_cast<std::size_t>(row)];
      isa_.dense(exact_.data() + row * packed_.stride, transposed.data(), packed_.dim, sqdist.data());
      for (std::int64_t code = 0; code < codes; ++code) {
        const double value = sqdist.data()[code];
        if (bounds::sqdist_lower(value, dim) > state.least_upper) continue;
        state.least_upper = std::min(state.least_upper, bounds::sqdist_upper(value, dim));
        state.open.emplace_back(value, static_cast<std::int32_t>(first + code));
      }
    }
    poll_();
    if (progress_.stopped()) return;
  }
  for (std::int64_t row = 0; row < count; ++row) {
    Row &state = states[static_cast<std::size_t>(row)];
    const double *latent = exact_.data() + row * packed_.stride;
    ExactRow among(latent, packed_.dim);
    int left = 0;
    for (const auto &[value, code] : state.open) {
      if (bounds::sqdist_lower(value, dim) > state.least_upper) continue;
      packed_.read_vector(code, vector_.data());
      among.consider(vector_.data(), code);
      ++left;
    }
    auto code = static_cast<std::int32_t>(among.nearest());
    std::int32_t local = 0;
    const Pairs pairs{&local, &code, 1, 1};
    isa_.sqdist(latent, packed_.vectors(), packed_.wide, packed_.stride, pairs,
                &results_.sqdist[rows[row]]);
    results_.codes[rows[row]] = packed_.index(code);
    results_.decided_by[rows[row]] = left > 1 ? kExact : kRefined;
  }
}

}  // namespace certvq
