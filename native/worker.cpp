#include "worker.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bounds.h"
#include "dense.h"
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
  residuals_ = Aligned<double>(rows);
  integers_ = Aligned<std::int32_t>(rows * packed.panels.pairs);
  best_ = Aligned<std::int32_t>(rows * 2 * isa_.lanes);
  scales_ = Aligned<double>(rows / kTileRows);
  shifts_ = Aligned<std::uint8_t>(rows);
  norms_ = Aligned<double>(rows);
  clear_ = Aligned<double>(rows);
  thresholds_ = Aligned<std::int32_t>(rows);
  codes_ = Aligned<std::int32_t>(rows);
  sqdist_ = Aligned<double>(rows);
  states_ = Aligned<std::uint8_t>(rows);
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
  certify(tiled);
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
  const std::int64_t pairs = packed_.panels.pairs;
  for (std::int64_t tile = 0; tile < tiled; tile += kTileRows) {
    const std::int64_t end = std::min(tile + kTileRows, count);
    const double greatest = *std::max_element(squares_.data() + tile, squares_.data() + end);
    const double norm = bounds::norm_upper(greatest, dim) * packed_.scale;
    int halvings = 0;
    if (norm > bounds::FIXED_POINT_NORM) std::frexp(norm / bounds::FIXED_POINT_NORM, &halvings);
    scales_.data()[tile / kTileRows] = std::ldexp(1.0, halvings);
    std::fill_n(shifts_.data() + tile, kTileRows, static_cast<std::uint8_t>(std::min(halvings, 31)));
    std::int32_t *integers = integers_.data() + tile * pairs;
    isa_.quantize(exact_.data() + tile * packed_.stride, packed_.centre.data(),
                  std::ldexp(packed_.scale, -halvings), end - tile, packed_.stride, pairs, integers,
                  residuals_.data() + tile, norms_.data() + tile);
    std::fill_n(integers + (end - tile) * pairs, (tile + kTileRows - end) * pairs, 0);
    std::fill(residuals_.data() + end, residuals_.data() + tile + kTileRows, 0.0);
    std::fill(norms_.data() + end, norms_.data() + tile + kTileRows, 0.0);
  }
}

void Worker::certify(std::int64_t tiled) {
  const Scan scan{integers_.data(), shifts_.data(), tiled, best_.data()};
  const Quantized quantized{norms_.data(), residuals_.data(),     scales_.data(),
                            packed_.scale, packed_.code_residual, static_cast<double>(packed_.dim),
                            packed_.widen};
  isa_.certify(scan, packed_.panels, quantized, thresholds_.data(), clear_.data());
}

void Worker::scan(std::int64_t tiled) {
  const Panels &panels = packed_.panels;
  const std::int64_t panel_bytes = panels.pairs * kBlocks * isa_.lanes * 4;
  const std::int64_t step = std::max(std::int64_t{1}, kCacheBytes / panel_bytes);
  const Scan scan{integers_.data(), shifts_.data(), tiled, best_.data()};
  for (std::int64_t first = 0; first < panels.count; first += step) {
    isa_.scan(scan, panels, first, std::min(first + step, panels.count));
    poll_();
    if (progress_.stopped()) return;
  }
}

void Worker::resolve(std::int64_t first, std::int64_t count) {
  const Scan scan{integers_.data(), shifts_.data(), count, best_.data()};
  const auto dim = static_cast<double>(packed_.dim);
  const Exact exact{exact_.data(),
                    packed_.vectors(),
                    packed_.wide,
                    packed_.distinct,
                    packed_.stride,
                    bounds::farther_factor(dim),
                    bounds::farther_slack(dim)};
  const Settled settled{codes_.data(), sqdist_.data(), states_.data()};
  Pairs pairs{pair_rows_.data(), pair_codes_.data(), 0, pair_capacity_};
  isa_.settle(scan, count, packed_.panels, exact, thresholds_.data(), clear_.data(), settled,
              pairs);
  for (std::int64_t row = 0; row < count; ++row) {
    if (states_.data()[row] != kSettled) continue;
    results_.codes[first + row] = packed_.index(codes_.data()[row]);
    results_.decided_by[first + row] = kFilter;
    results_.sqdist[first + row] = sqdist_.data()[row];
  }
  measure(pairs);
  for (std::int64_t begin = 0; begin < pairs.count;) {
    const std::int32_t row = pairs.rows[begin];
    std::int64_t end = begin + 1;
    while (end < pairs.count && pairs.rows[end] == row) ++end;
    resolve_row(first + row, row, begin, end);
    begin = end;
  }
  for (std::int64_t row = 0; row < count; ++row) {
    if (states_.data()[row] != kCrowded) continue;
    pairs.count = 0;
    pairs.capacity = kFewCandidates;
    if (isa_.collect(integers_.data() + row * packed_.panels.pairs, shifts_.data()[row],
                     thresholds_.data()[row], packed_.panels, packed_.distinct,
                     static_cast<std::int32_t>(row), pairs)) {
      measure(pairs);
      resolve_row(first + row, row, 0, pairs.count);
    } else {
      aside_.push_back(first + row);
      aside_reached_.push_back(sqdist_.data()[row]);
    }
  }
  if (static_cast<std::int64_t>(aside_.size()) >= kMostRows) finish();
}

void Worker::measure(const Pairs &pairs) {
  isa_.sqdist(exact_.data(), packed_.vectors(), packed_.wide, packed_.stride, pairs,
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
  std::uint8_t decided_by = kRefined;
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
    dense(first, std::min(block, static_cast<std::int64_t>(aside_.size()) - first));
  }
  aside_.clear();
  aside_reached_.clear();
}

/// Compare rows that were put aside with every code vector.
void Worker::dense(std::int64_t first, std::int64_t count) {
  const std::int64_t *rows = aside_.data() + first;
  std::vector<Dense::Choice> choices(static_cast<std::size_t>(count));
  for (std::int64_t row = 0; row < count; ++row) {
    isa_.read(latents_, rows[row], 1, packed_.stride, exact_.data() + row * packed_.stride);
  }
  const auto goes_on = [this] {
    poll_();
    return !progress_.stopped();
  };
  if (!dense_) dense_ = std::make_unique<Dense>(packed_);
  if (!dense_->decide(exact_.data(), aside_reached_.data() + first, count, choices.data(), goes_on)) return;
  for (std::int64_t row = 0; row < count; ++row) {
    auto [code, exact] = choices[static_cast<std::size_t>(row)];
    std::int32_t local = 0;
    const Pairs pair{&local, &code, 1, 1};
    isa_.sqdist(exact_.data() + row * packed_.stride, packed_.vectors(), packed_.wide,
                packed_.stride, pair, &results_.sqdist[rows[row]]);
    results_.codes[rows[row]] = packed_.index(code);
    results_.decided_by[rows[row]] = exact ? kExact : kRefined;
  }
}

}  // namespace certvq
