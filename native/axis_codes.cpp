#include "axis_codes.h"

#include <algorithm>
#include <cmath>

#include "bounds.h"

namespace certvq {
namespace {

constexpr std::int64_t kAxes = kPad - 1;
constexpr std::int64_t kLeastDim = 16;
constexpr std::int64_t kMostDim = 1024;   // see bounds::axes_distance
constexpr std::int64_t kLeastCodes = 256;
constexpr std::int64_t kSample = 128;     // code vectors that axes are chosen for
constexpr std::int64_t kFew = 24;         // of them that say whether to choose any
constexpr double kMostDimensions = 6.0;   // of these: then few axes say enough
constexpr int kRounds = 2;                // of the power iteration
constexpr double kVanished = 0x1p-40;     // of a vector, when its parts along other axes are gone
constexpr std::int64_t kChunk = 64;
// What a row takes besides, in products of the filter, as measured.
constexpr double kRowDim = 60.0;
constexpr double kRow = 2500.0;

/// Some code vectors, less the centre, in units of the filter.
struct Sample {
  Sample(const Packed &packed, std::int64_t most)
      : isa(*packed.isa),
        stride(packed.stride),
        count(std::min(packed.distinct, most)),
        entries(count * stride),
        zero(stride) {
    std::fill_n(zero.data(), stride, 0.0);
    for (std::int64_t row = 0; row < count; ++row) {
      double *out = entries.data() + row * stride;
      packed.read_vector(row * packed.distinct / count, out);
      for (std::int64_t d = 0; d < stride; ++d) out[d] = (out[d] - packed.centre.data()[d]) * packed.scale;
    }
  }
  void products(const double *vectors, double *out) const {
    isa.products(entries.data(), count, stride, zero.data(), vectors, out);
  }

  const Isa &isa;
  std::int64_t stride;
  std::int64_t count;
  Aligned<double> entries;  // (count, stride)
  Aligned<double> zero;     // (stride,)
};

/// About how many dimensions the vectors have: the square of the sum of their variances over the sum of
/// the squares. NaN if all are zero.
double dimensions(const Sample &sample) {
  double products[kFew * kPad];
  double sum = 0.0;
  double squares = 0.0;
  for (std::int64_t first = 0; first + kPad <= sample.count; first += kPad) {
    sample.products(sample.entries.data() + first * sample.stride, products);
    for (std::int64_t i = 0; i < kPad; ++i) sum += products[(first + i) * kPad + i];
    for (std::int64_t place = 0; place < sample.count * kPad; ++place) squares += products[place] * products[place];
  }
  return sum * sum / squares;
}

double dot(const double *a, const double *b, std::int64_t size) {
  double sum = 0.0;
  for (std::int64_t d = 0; d < size; ++d) sum += a[d] * b[d];
  return sum;
}

/// Make the axes orthonormal, or zero where nothing is left of them.
void orthonormalize(double *axes, std::int64_t stride) {
  for (std::int64_t axis = 0; axis < kAxes; ++axis) {
    double *own = axes + axis * stride;
    const double before = dot(own, own, stride);
    for (int again = 0; again < 2; ++again) {  // twice is enough
      for (std::int64_t other = 0; other < axis; ++other) {
        const double *const unit = axes + other * stride;
        const double part = dot(own, unit, stride);
        for (std::int64_t d = 0; d < stride; ++d) own[d] -= part * unit[d];
      }
    }
    const double left = dot(own, own, stride);
    const double factor = left > before * kVanished ? 1.0 / std::sqrt(left) : 0.0;
    for (std::int64_t d = 0; d < stride; ++d) own[d] *= factor;
  }
}

/// Choose axes along which the sample varies most, or nearly.
void choose_axes(const Sample &sample, double *axes) {
  const std::int64_t stride = sample.stride;
  std::fill_n(axes, kPad * stride, 0.0);
  for (std::int64_t axis = 0; axis < kAxes; ++axis) {
    const std::int64_t row = axis * sample.count / kAxes;
    std::copy_n(sample.entries.data() + row * stride, stride, axes + axis * stride);
  }
  Aligned<double> parts(sample.count * kPad);
  for (int round = 0; round < kRounds; ++round) {
    orthonormalize(axes, stride);
    sample.products(axes, parts.data());
    std::fill_n(axes, kAxes * stride, 0.0);
    for (std::int64_t row = 0; row < sample.count; ++row) {
      const double *x = sample.entries.data() + row * stride;
      for (std::int64_t axis = 0; axis < kAxes; ++axis) {
        const double part = parts.data()[row * kPad + axis];
        double *own = axes + axis * stride;
        for (std::int64_t d = 0; d < stride; ++d) own[d] += part * x[d];
      }
    }
  }
  orthonormalize(axes, stride);
}

/// Whether the axes are orthonormal, or zero, as closely as `bounds::axes_distance` needs.
bool orthonormal(const Sample &sample, const double *axes, std::int64_t dim) {
  double products[kPad * kPad];
  sample.isa.products(axes, kPad, sample.stride, sample.zero.data(), axes, products);
  const double most = bounds::gamma(static_cast<double>(dim) + 8.0);
  for (std::int64_t axis = 0; axis < kPad; ++axis) {
    const bool zero = products[axis * kPad + axis] == 0.0;
    for (std::int64_t other = 0; other < kPad; ++other) {
      const double expected = axis == other && !zero ? 1.0 : 0.0;
      if (!(std::abs(products[axis * kPad + other] - expected) <= most)) return false;
    }
  }
  return true;
}

}  // namespace

void AxisCodes::project(const Packed &packed, const double *rows, std::int64_t count,
                        const double *squares, double *out) const {
  packed.isa->products(rows, count, packed.stride, packed.centre.data(), axes.data(), out);
  for (std::int64_t row = 0; row < count; ++row, out += kPad) {
    double along = 0.0;
    for (std::int64_t axis = 0; axis < kAxes; ++axis) along += out[axis] * out[axis];
    const double left = squares[row] - along;
    out[kAxes] = std::sqrt(left > 0.0 ? left : 0.0);
  }
}

std::unique_ptr<AxisCodes> axis_codes(const Packed &packed) {
  const bool any = !packed.sorted && packed.dim >= kLeastDim && packed.dim <= kMostDim;
  if (!any || packed.distinct < kLeastCodes) return nullptr;
  if (!(dimensions(Sample(packed, kFew)) <= kMostDimensions)) return nullptr;
  const Sample sample(packed, kSample);
  auto codes = std::make_unique<AxisCodes>();
  codes->axes = Aligned<double>(kPad * packed.stride);
  choose_axes(sample, codes->axes.data());
  if (!orthonormal(sample, codes->axes.data(), packed.dim)) return nullptr;
  Aligned<double> points(packed.distinct * kPad);
  Aligned<double> chunk(kChunk * packed.stride);
  double squares[kChunk];
  double greatest = 0.0;
  for (std::int64_t first = 0; first < packed.distinct; first += kChunk) {
    const std::int64_t count = std::min(kChunk, packed.distinct - first);
    for (std::int64_t code = 0; code < count; ++code) {
      packed.read_vector(first + code, chunk.data() + code * packed.stride);
    }
    packed.isa->measure(chunk.data(), true, count, packed.stride, packed.centre.data(), squares);
    greatest = std::max(greatest, *std::max_element(squares, squares + count));
    codes->project(packed, chunk.data(), count, squares, points.data() + first * kPad);
  }
  codes->radius = bounds::norm_upper(greatest, static_cast<double>(packed.dim));
  const Matrix matrix{points.data(), Number::kFloat64, packed.distinct, kPad, kPad, 1};
  codes->points = pack(matrix, *packed.isa);
  const Packed &packed_points = *codes->points;
  const bool usable = packed_points.refusal == Refusal::kNone && !packed_points.sorted &&
                      packed_points.distinct == packed.distinct;
  return usable ? std::move(codes) : nullptr;
}

AxisForm::AxisForm(const Packed &packed, const AxisCodes &codes)
    : packed_(packed), codes_(codes), points_(*codes.points), reach_(Block::most_rows(packed)) {}

bool AxisForm::round(const Block &block) {
  codes_.project(packed_, block.exact(0), block.rows(), block.squares(), points_.entries(0));
  if (points_.examine(block.rows()) != Refusal::kNone) return false;
  points_.quantize();
  return true;
}

void AxisForm::scan(std::int64_t rows, std::int64_t begin, std::int64_t first, std::int64_t last,
                    std::int32_t *best) const {
  packed_.isa->scan({points_.integers(0), points_.shifts(), rows, best, begin}, panels(), first, last);
}

void AxisForm::limit(const Block &block, const double *reach, std::int32_t *thresholds) {
  const auto dim = static_cast<double>(packed_.dim);
  for (std::int64_t row = 0; row < block.rows(); ++row) {
    reach_.data()[row] = bounds::axes_distance(reach[row], bounds::norm_upper(block.squares()[row], dim),
                                               codes_.radius, dim);
  }
  std::fill(reach_.data() + block.rows(), reach_.data() + block.tiled(), 0.0);
  Quantized quantized = points_.quantized();
  quantized.widen = packed_.widen;
  const double names = static_cast<double>((1 << panels().group_bits) - 1);
  packed_.isa->score_limits(quantized, block.tiled(), names, reach_.data(), thresholds);
}

void AxisForm::moved(std::int64_t rows, double *out) const {
  lengths_moved(points_.quantized(), rows, out);
}

/// All panels are one part.
bool AxisForm::collect(std::int64_t row, std::int32_t threshold, std::int64_t, std::int64_t,
                       Pairs &pairs) const {
  return packed_.isa->collect(points_.integers(row), points_.shifts()[row], threshold, panels(),
                              packed_.distinct, static_cast<std::int32_t>(row), pairs);
}

double AxisForm::saved() const {
  const auto dim = static_cast<double>(packed_.dim);
  return static_cast<double>(packed_.distinct) * (dim - kPad) - kRowDim * dim - kRow;
}

}  // namespace certvq
