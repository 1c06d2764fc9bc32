#include "byte_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bounds.h"

namespace certvq {
namespace {

constexpr std::int64_t kSlotsOfRow = 128;  // groups that are remembered of a row, at least
constexpr std::int64_t kLeastPanels = 2;   // that share them
constexpr std::int64_t kSmallGroups = 1024;  // see Packed
constexpr int kRatioBits = 5;  // so that a ratio is exact in float32, and its products nearly

/// Whether every score fits beside the number of its group.
bool fits(const Packed &packed, const ByteCodes &codes, double squared_norm) {
  return bounds::byte_score_upper(packed.isa->bytes->limit, squared_norm, ByteCodes::kMostRatio,
                                  static_cast<double>(packed.dim)) <
         std::ldexp(1.0, 31 - codes.panels.group_bits);
}

/// The greatest number of few bits that is not above `ratio`.
double few_bits(double ratio) {
  int exponent = 0;
  const double mantissa = std::frexp(ratio, &exponent);
  return std::ldexp(std::floor(std::ldexp(mantissa, kRatioBits)), exponent - kRatioBits);
}

}  // namespace

std::unique_ptr<ByteCodes> byte_codes(const Packed &packed) {
  const Isa &isa = *packed.isa;
  if (isa.bytes == nullptr || packed.sorted || packed.dim > ByteCodes::kMostDim) return nullptr;
  auto codes = std::make_unique<ByteCodes>();
  const double widest = isa.bytes->widest(packed.vectors(), packed.wide, packed.centre.data(),
                                          packed.distinct, packed.stride);
  if (!(widest > 0.0)) return nullptr;
  codes->scale = kByteCodeLimit / widest;
  const std::int64_t panel_codes = kBlocks * isa.lanes;
  const std::int64_t quads = (packed.dim + 3) / 4;
  Panels &panels = codes->panels;
  panels.pairs = quads;
  panels.count = packed.panels.count;
  panels.grouped = packed.distinct > kSmallGroups || packed.dim <= 16;
  while ((std::int64_t{1} << panels.group_bits) < panels.count * (panels.grouped ? 1 : kBlocks)) {
    ++panels.group_bits;
  }
  codes->integers = Aligned<std::int32_t>(panels.count * quads * panel_codes);
  codes->offsets = Aligned<std::int32_t>(panels.count * panel_codes);
  Aligned<std::int32_t> rounded(quads * panel_codes);
  double residual = 0.0;
  double norm = 0.0;
  double part = 0.0;
  for (std::int64_t panel = 0; panel < panels.count; ++panel) {
    const std::int64_t first = panel * panel_codes;
    isa.bytes->write_panel(packed.vector(first), packed.wide,
                           std::min(panel_codes, packed.distinct - first), packed.stride,
                           packed.centre.data(), codes->scale, quads, rounded.data(),
                           codes->integers.data() + first * quads, codes->offsets.data() + first,
                           &residual, &norm, &part);
  }
  // Below the offset of the vector that it repeats: the padding never has the best score.
  const auto lowest = static_cast<float>(-norm);
  for (std::int64_t code = packed.distinct; code < panels.count * panel_codes; ++code) {
    const std::int64_t place = code % panel_codes;
    std::memcpy(codes->offsets.data() + code - place + place % kBlocks * isa.lanes + place / kBlocks,
                &lowest, sizeof lowest);
  }
  if (!fits(packed, *codes, norm)) return nullptr;
  codes->residual = bounds::fixed_point_residual(residual, static_cast<double>(packed.dim));
  codes->part = std::sqrt(part);
  panels.integers = reinterpret_cast<const std::int16_t *>(codes->integers.data());
  panels.offsets = codes->offsets.data();
  const std::int64_t parts = kSlotsOfRow / isa.lanes;
  codes->part_panels = std::max(kLeastPanels, (panels.count + parts - 1) / parts);
  return codes;
}

ByteForm::ByteForm(const Packed &packed, const ByteCodes &codes)
    : packed_(packed), codes_(codes), bytes_(*packed.isa->bytes) {
  const std::int64_t rows = Block::most_rows(packed);
  const std::int64_t quads = codes.panels.pairs;
  chunks_ = bytes_.chunk == 0 ? 1 : (quads + bytes_.chunk - 1) / bytes_.chunk;
  integers_ = Aligned<std::int32_t>(rows * quads);
  starts_ = Aligned<std::int32_t>(rows * chunks_);
  ratios_ = Aligned<float>(rows);
  residuals_ = Aligned<double>(rows);
  norms_ = Aligned<double>(rows);
  scales_ = Aligned<double>(rows / kTileRows);
}

/// Choose the unit of each tile: its widest entry fits a byte, and no 16-bit sum overflows.
bool ByteForm::round(const Block &block) {
  const std::int64_t quads = codes_.panels.pairs;
  const std::int64_t stride = packed_.stride;
  for (std::int64_t tile = 0; tile < block.rows(); tile += kTileRows) {
    const std::int64_t full = tile + kTileRows;
    const std::int64_t end = std::min(full, block.rows());
    const double widest = bytes_.widest(block.exact(tile), true, packed_.centre.data(), end - tile, stride);
    const ByteRows out{integers_.data() + tile * quads, starts_.data() + tile * chunks_,
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
    std::fill(starts_.data() + end * chunks_, starts_.data() + full * chunks_, 0);
    std::fill(residuals_.data() + end, residuals_.data() + full, 0.0);
    std::fill(norms_.data() + end, norms_.data() + full, 0.0);
  }
  return true;
}

void ByteForm::scan(std::int64_t rows, std::int64_t begin, std::int64_t first, std::int64_t last,
                    std::int32_t *best) const {
  bytes_.scan(described(rows, begin, best), codes_.panels, first, last);
}

void ByteForm::limit(const Block &block, const double *reach, std::int32_t *thresholds) {
  packed_.isa->score_limits(quantized(), block.tiled(), 0.0, reach, thresholds);
  const int bits = codes_.panels.group_bits;
  const std::int32_t least = kNothing >> bits;
  for (std::int64_t row = 0; row < block.rows(); ++row) {
    std::int32_t &threshold = thresholds[row];
    threshold = threshold > least ? std::min(threshold, ~least) * (1 << bits) : kNothing;
  }
}

void ByteForm::moved(std::int64_t rows, double *out) const {
  lengths_moved(quantized(), rows, out);
}

bool ByteForm::collect(std::int64_t row, std::int32_t threshold, std::int64_t first, std::int64_t last,
                       Pairs &pairs) const {
  return bytes_.collect(described(0, 0, nullptr), row, threshold, codes_.panels, first, last,
                        packed_.distinct, pairs);
}

double ByteForm::saved() const {
  const auto dim = static_cast<double>(packed_.dim);
  return static_cast<double>(packed_.distinct) * (bytes_.saved * dim - bytes_.bookkeeping);
}

}  // namespace certvq
