#include "block.h"

#include <algorithm>
#include <cmath>

#include "bounds.h"

namespace certvq {
namespace {

constexpr std::int64_t kMostRows = 96;
constexpr std::int64_t kBlockBytes = 1 << 18;  // of exact rows
constexpr double kLargestSquare = 0x1p+800;

}  // namespace

std::int64_t Block::most_rows(const Packed &packed) {
  const std::int64_t fitting = kBlockBytes / (packed.stride * static_cast<std::int64_t>(sizeof(double)));
  return std::clamp(fitting / kTileRows * kTileRows, std::int64_t{kTileRows}, kMostRows);
}

Block::Block(const Packed &packed) : packed_(packed) {
  const std::int64_t rows = most_rows(packed);
  exact_ = Aligned<double>(rows * packed.stride);
  squares_ = Aligned<double>(rows);
  residuals_ = Aligned<double>(rows);
  norms_ = Aligned<double>(rows);
  scales_ = Aligned<double>(rows / kTileRows);
  integers_ = Aligned<std::int32_t>(rows * packed.panels.pairs);
  shifts_ = Aligned<std::uint8_t>(rows);
}

Refusal Block::read(const Matrix &latents, std::int64_t first, std::int64_t count) {
  packed_.isa->read(latents, first, count, packed_.stride, exact_.data());
  return examine(count);
}

Refusal Block::gather(const Matrix &latents, const std::int64_t *rows, std::int64_t count) {
  for (std::int64_t row = 0; row < count; ++row) {
    packed_.isa->read(latents, rows[row], 1, packed_.stride, entries(row));
  }
  return examine(count);
}

Refusal Block::examine(std::int64_t count) {
  rows_ = count;
  packed_.isa->measure(exact_.data(), true, count, packed_.stride, packed_.centre.data(), squares_.data());
  for (std::int64_t row = 0; row < count; ++row) {
    if (squares_.data()[row] < kLargestSquare) continue;
    double poison = 0.0;  // NaN as soon as one entry is NaN or infinite
    for (std::int64_t d = 0; d < packed_.dim; ++d) poison += exact(row)[d] * 0.0;
    return poison == 0.0 ? Refusal::kExtreme : Refusal::kNotFinite;
  }
  return Refusal::kNone;
}

void lengths_moved(const Quantized &quantized, std::int64_t rows, double *out) {
  const double unit = 1.0 / quantized.unit * (1.0 + bounds::gamma(4.0));
  for (std::int64_t row = 0; row < rows; ++row) {
    const double residual = bounds::fixed_point_residual(quantized.residuals[row], quantized.dim);
    out[row] = (residual * quantized.scales[row / kTileRows] + quantized.code_residual) * unit;
  }
}

Exact Block::described() const {
  const auto dim = static_cast<double>(packed_.dim);
  return {exact_.data(),    packed_.vectors(), packed_.wide,
          packed_.distinct, packed_.stride,    packed_.narrow(), bounds::farther_factor(dim),
          bounds::farther_slack(dim)};
}

/// Choose for each tile how often to halve the units, so that its greatest norm fits.
void Block::quantize() {
  const auto dim = static_cast<double>(packed_.dim);
  const std::int64_t pairs = packed_.panels.pairs;
  for (std::int64_t tile = 0; tile < rows_; tile += kTileRows) {
    const std::int64_t full = tile + kTileRows;
    const std::int64_t end = std::min(full, rows_);
    const double greatest = *std::max_element(squares_.data() + tile, squares_.data() + end);
    const double norm = bounds::norm_upper(greatest, dim) * packed_.scale;
    int halvings = 0;
    if (norm > bounds::FIXED_POINT_NORM) std::frexp(norm / bounds::FIXED_POINT_NORM, &halvings);
    scales_.data()[tile / kTileRows] = std::ldexp(1.0, halvings);
    std::fill_n(shifts_.data() + tile, kTileRows, static_cast<std::uint8_t>(std::min(halvings, 31)));
    packed_.isa->quantize(exact(tile), packed_.centre.data(), std::ldexp(packed_.scale, -halvings),
                          end - tile, packed_.stride, pairs, integers_.data() + tile * pairs,
                          residuals_.data() + tile, norms_.data() + tile);
    std::fill(integers_.data() + end * pairs, integers_.data() + full * pairs, 0);
    std::fill(residuals_.data() + end, residuals_.data() + full, 0.0);
    std::fill(norms_.data() + end, norms_.data() + full, 0.0);
  }
}

}  // namespace certvq
