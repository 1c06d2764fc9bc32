#include "packed.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bounds.h"

namespace certvq {
namespace {

constexpr std::int64_t kChunk = 64;           // code vectors that are read at once
constexpr double kLargest = 0x1p+400;         // squares of what lies below cannot overflow
constexpr std::int64_t kLargestDim = 1 << 20;  // for FIXED_POINT_NORM
constexpr std::int32_t kPaddingMark = 1 << 28;
constexpr std::int64_t kSmallGroups = 1024;  // see `grouped`

template <class Entry>
std::uint64_t hash_row(const Entry *row, std::int64_t stride) {
  std::uint64_t lanes[4] = {1, 2, 3, 4};
  const auto *bytes = reinterpret_cast<const char *>(row);
  const std::int64_t words = stride * static_cast<std::int64_t>(sizeof(Entry)) / 8;
  for (std::int64_t word = 0; word < words; word += 4) {  // rows are padded to 32 bytes
    for (int lane = 0; lane < 4; ++lane) {
      std::uint64_t value;
      std::memcpy(&value, bytes + (word + lane) * 8, 8);
      lanes[lane] = (lanes[lane] ^ value) * 0x9E3779B97F4A7C15u;
      lanes[lane] ^= lanes[lane] >> 29;
    }
  }
  std::uint64_t hash = lanes[0];
  for (int lane = 1; lane < 4; ++lane) hash = (hash ^ lanes[lane]) * 0x9E3779B97F4A7C15u;
  return hash ^ hash >> 32;
}

/// Open addressing: an index and the upper half of its hash in each place.
class FirstSeen {
 public:
  explicit FirstSeen(std::int64_t rows) {
    std::size_t size = 16;
    while (size < static_cast<std::size_t>(2 * rows)) size *= 2;
    places_.assign(size, {0, -1});
  }
  /// Return the place of an equal row, or put `index` in and return -1.
  template <class Equal>
  std::int64_t find_or_put(std::uint64_t hash, std::int64_t index, Equal equal) {
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::size_t place = hash & (places_.size() - 1);; place = (place + 1) & (places_.size() - 1)) {
      Place &candidate = places_[place];
      if (candidate.index < 0) {
        candidate = {tag, static_cast<std::int32_t>(index)};
        return -1;
      }
      if (candidate.tag == tag && equal(candidate.index)) return candidate.index;
    }
  }

 private:
  struct Place {
    std::uint32_t tag;
    std::int32_t index;
  };
  std::vector<Place> places_;
};

/// Read the codebook, keep each vector once, sum them up and look for numbers out of range.
template <class Entry>
void fold(const Matrix &codebook, Packed &packed, Aligned<Entry> &vectors) {
  const std::int64_t stride = packed.stride;
  vectors = Aligned<Entry>(packed.given * stride);
  Aligned<double> chunk(kChunk * stride);
  FirstSeen seen(packed.given);
  double *sums = packed.centre.data();
  std::fill_n(sums, stride, 0.0);
  double largest = 0.0;
  double poison = 0.0;  // NaN as soon as one entry is NaN or infinite
  Entry *next = vectors.data();
  for (std::int64_t first = 0; first < packed.given; first += kChunk) {
    const std::int64_t count = std::min(kChunk, packed.given - first);
    packed.isa->read(codebook, first, count, stride, chunk.data());
    for (std::int64_t row = 0; row < count; ++row) {
      const double *exact = chunk.data() + row * stride;
      for (std::int64_t d = 0; d < stride; ++d) {
        next[d] = static_cast<Entry>(exact[d] + 0.0);  // -0 and 0 are the same number
        largest = std::max(largest, std::fabs(exact[d]));
        poison += exact[d] * 0.0;
      }
      const std::int64_t equal = seen.find_or_put(
          hash_row(next, stride), packed.distinct, [&](std::int64_t other) {
            return std::memcmp(vectors.data() + other * stride, next,
                               static_cast<std::size_t>(stride) * sizeof(Entry)) == 0;
          });
      if (equal >= 0) {
        if (packed.lowest.empty()) {
          packed.lowest.resize(static_cast<std::size_t>(packed.distinct));
          for (std::size_t i = 0; i < packed.lowest.size(); ++i) {
            packed.lowest[i] = static_cast<std::int64_t>(i);
          }
        }
        continue;
      }
      if (!packed.lowest.empty()) packed.lowest.push_back(first + row);
      for (std::int64_t d = 0; d < stride; ++d) sums[d] += exact[d];
      ++packed.distinct;
      next += stride;
    }
  }
  if (!(poison == 0.0)) {
    packed.refusal = Refusal::kNotFinite;
  } else if (largest >= kLargest || packed.dim > kLargestDim) {
    packed.refusal = Refusal::kExtreme;
  }
}

/// Write the integers of one code into its panel; returns the squared residual in units.
double place_integers(const double *scaled, std::int64_t code, const Packed &packed,
                      std::int16_t *integers) {
  const std::int64_t lanes = packed.isa->lanes;
  const std::int64_t panel_codes = kBlocks * lanes;
  const std::int64_t within = code % panel_codes;
  const std::int64_t lane = within / kBlocks;
  const std::int64_t block = within % kBlocks;
  std::int16_t *out = integers + (code / panel_codes * packed.panels.pairs * panel_codes +
                                  block * lanes + lane) * 2;
  double squared = 0.0;
  for (std::int64_t pair = 0; pair < packed.panels.pairs; ++pair, out += panel_codes * 2) {
    for (int entry = 0; entry < 2; ++entry) {
      const double value = scaled[2 * pair + entry];
      const double rounded = std::nearbyint(value);
      squared += (value - rounded) * (value - rounded);
      out[entry] = static_cast<std::int16_t>(rounded);
    }
  }
  return squared;
}

void quantize_codes(Packed &packed) {
  const std::int64_t panel_codes = kBlocks * packed.isa->lanes;
  const std::int64_t stride = packed.stride;
  Panels &panels = packed.panels;
  panels.pairs = (packed.dim + 1) / 2;
  panels.count = (packed.distinct + panel_codes - 1) / panel_codes;
  // A single code a group needs no comparison within the group, but more bookkeeping in the filter.
  panels.grouped = packed.distinct > kSmallGroups || packed.dim <= 16;
  const std::int64_t groups = panels.count * (panels.grouped ? 1 : kBlocks);
  while ((std::int64_t{1} << panels.group_bits) < groups) ++panels.group_bits;

  std::vector<double> squares(static_cast<std::size_t>(packed.distinct));
  std::vector<double> vectors(static_cast<std::size_t>(kChunk * stride));
  const double *centre = packed.centre.data();
  for (std::int64_t code = 0; code < packed.distinct; ++code) {
    packed.read_vector(code, vectors.data());
    packed.isa->squares(vectors.data(), centre, 1, stride, &squares[static_cast<std::size_t>(code)]);
  }
  const double radius =
      bounds::norm_upper(*std::max_element(squares.begin(), squares.end()),
                         static_cast<double>(packed.dim));
  if (packed.distinct > 1 && radius < 1.0 / kLargest) packed.refusal = Refusal::kExtreme;
  if (packed.refusal != Refusal::kNone) return;
  packed.scale = bounds::FIXED_POINT_NORM / radius;

  packed.integers = Aligned<std::int16_t>(panels.count * panels.pairs * panel_codes * 2);
  packed.offsets = Aligned<std::int32_t>(panels.count * panel_codes);
  double residual = 0.0;
  for (std::int64_t code = 0; code < panels.count * panel_codes; ++code) {
    const bool padding = code >= packed.distinct;
    const std::int64_t source = padding ? packed.distinct - 1 : code;
    packed.read_vector(source, vectors.data());
    for (std::int64_t d = 0; d < stride; ++d) {
      vectors[static_cast<std::size_t>(d)] =
          (vectors[static_cast<std::size_t>(d)] - centre[d]) * packed.scale;
    }
    residual = std::max(residual, place_integers(vectors.data(), code, packed, packed.integers.data()));
    const double offset = std::nearbyint(-0.5 * squares[static_cast<std::size_t>(source)] *
                                         packed.scale * packed.scale);
    const std::int64_t within = code % panel_codes;
    packed.offsets.data()[code / panel_codes * panel_codes +
                          within % kBlocks * packed.isa->lanes + within / kBlocks] =
        static_cast<std::int32_t>(offset) - (padding ? kPaddingMark : 0);
  }
  packed.code_residual =
      bounds::fixed_point_code_residual(residual, static_cast<double>(packed.dim));
  panels.integers = packed.integers.data();
  panels.offsets = packed.offsets.data();
}

}  // namespace

void Packed::read_vector(std::int64_t code, double *out) const {
  if (wide) {
    std::copy_n(wide_vectors.data() + code * stride, stride, out);
  } else {
    std::copy_n(narrow_vectors.data() + code * stride, stride, out);
  }
}

std::unique_ptr<Packed> pack(const Matrix &codebook, const Isa &isa) {
  auto packed = std::make_unique<Packed>();
  packed->isa = &isa;
  packed->given = codebook.rows;
  packed->dim = codebook.columns;
  packed->stride = padded(codebook.columns);
  packed->wide = codebook.number == Number::kFloat64;
  packed->centre = Aligned<double>(packed->stride);
  if (packed->wide) {
    fold(codebook, *packed, packed->wide_vectors);
  } else {
    fold(codebook, *packed, packed->narrow_vectors);
  }
  if (packed->refusal != Refusal::kNone) return packed;
  for (std::int64_t d = 0; d < packed->stride; ++d) {
    packed->centre.data()[d] /= static_cast<double>(packed->distinct);
  }
  quantize_codes(*packed);
  return packed;
}

}  // namespace certvq
