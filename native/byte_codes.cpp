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

/// Whether every score fits beside the number of its group.
bool fits(const Packed &packed, const ByteCodes &codes, double squared_norm) {
  return bounds::byte_score_upper(packed.isa->bytes->limit, squared_norm, ByteCodes::kMostRatio,
                                  static_cast<double>(packed.dim)) <
         std::ldexp(1.0, 31 - codes.panels.group_bits);
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

}  // namespace certvq
