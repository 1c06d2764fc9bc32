#include "packed.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "bounds.h"

namespace certvq {
namespace {

constexpr std::int64_t kChunk = 64;           // code vectors that are read at once
constexpr double kLargestSquare = 0x1p+800;    // of a norm
constexpr double kSmallest = 0x1p-400;
constexpr std::int64_t kLargestDim = 1 << 20;  // for FIXED_POINT_NORM
constexpr std::int32_t kPaddingMark = 1 << 28;
constexpr std::int64_t kSmallGroups = 1024;  // see `grouped`
// Codes from which leaving out panels pays, for dims 1, 2, ... (docs/performance.md); beyond, boxes
// around the panels overlap too much.
constexpr std::int64_t kSortedCodes[] = {4096, 4096, 4096, 8192, 16384, 65536};
constexpr std::int64_t kSortedDims = sizeof(kSortedCodes) / sizeof(kSortedCodes[0]);

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
  /// Say whether an equal row is in; if not, put `index` in.
  template <class Equal>
  bool find_or_put(std::uint64_t hash, std::int64_t index, Equal equal) {
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::size_t place = hash & (places_.size() - 1);; place = (place + 1) & (places_.size() - 1)) {
      Place &candidate = places_[place];
      if (candidate.index < 0) {
        candidate = {tag, static_cast<std::int32_t>(index)};
        return false;
      }
      if (candidate.tag == tag && equal(candidate.index)) return true;
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
  vectors = Aligned<Entry>((packed.given + kBlocks - 1) * stride);  // see Exact
  const std::vector<double> origin(static_cast<std::size_t>(stride), 0.0);
  Aligned<double> chunk(kChunk * stride);
  Aligned<double> squares(kChunk);
  FirstSeen seen(packed.given);
  double *sums = packed.centre.data();
  std::fill_n(sums, stride, 0.0);
  Entry *next = vectors.data();
  for (std::int64_t first = 0; first < packed.given; first += kChunk) {
    const std::int64_t count = std::min(kChunk, packed.given - first);
    packed.isa->read(codebook, first, count, stride, chunk.data());
    packed.isa->squares(chunk.data(), origin.data(), count, stride, squares.data());
    for (std::int64_t row = 0; row < count; ++row) {
      const double *exact = chunk.data() + row * stride;
      if (!(squares.data()[row] < kLargestSquare)) {
        double poison = 0.0;  // NaN as soon as one entry is NaN or infinite
        for (std::int64_t d = 0; d < stride; ++d) poison += exact[d] * 0.0;
        const bool finite = poison == 0.0;
        if (packed.refusal != Refusal::kNotFinite) {
          packed.refusal = finite ? Refusal::kExtreme : Refusal::kNotFinite;
        }
        continue;
      }
      for (std::int64_t d = 0; d < stride; ++d) {
        next[d] = static_cast<Entry>(exact[d] + 0.0);  // -0 and 0 are the same number
      }
      const auto same = [&](std::int64_t other) {
        return std::memcmp(vectors.data() + other * stride, next,
                           static_cast<std::size_t>(stride) * sizeof(Entry)) == 0;
      };
      if (seen.find_or_put(hash_row(next, stride), packed.distinct, same)) {
        if (packed.lowest.empty()) {
          packed.lowest.resize(static_cast<std::size_t>(packed.distinct));
          std::iota(packed.lowest.begin(), packed.lowest.end(), std::int64_t{0});
        }
        continue;
      }
      if (!packed.lowest.empty()) packed.lowest.push_back(first + row);
      for (std::int64_t d = 0; d < stride; ++d) sums[d] += exact[d];
      ++packed.distinct;
      next += stride;
    }
  }
  std::fill_n(next, (kBlocks - 1) * stride, Entry{0});
  if (packed.dim > kLargestDim && packed.refusal == Refusal::kNone) {
    packed.refusal = Refusal::kExtreme;
  }
  for (std::int64_t d = 0; d < stride; ++d) sums[d] /= static_cast<double>(packed.distinct);
}

/// Choose the groups: a single code each needs no comparison within the group, but more bookkeeping.
void choose_groups(Packed &packed) {
  const std::int64_t panel_codes = kBlocks * packed.isa->lanes;
  Panels &panels = packed.panels;
  panels.pairs = (packed.dim + 1) / 2;
  panels.count = (packed.distinct + panel_codes - 1) / panel_codes;
  panels.grouped = packed.distinct > kSmallGroups || packed.dim <= 16;
  const std::int64_t groups = panels.count * (panels.grouped ? 1 : kBlocks);
  while ((std::int64_t{1} << panels.group_bits) < groups) ++panels.group_bits;
}

/// Write integers and offsets of the codes, and copies of the last one, marked, into the padding.
void fill_panels(Packed &packed) {
  const std::int64_t lanes = packed.isa->lanes;
  const std::int64_t panel_codes = kBlocks * lanes;
  const std::int64_t pairs = packed.panels.pairs;
  packed.integers = Aligned<std::int16_t>(packed.panels.count * pairs * panel_codes * 2);
  packed.offsets = Aligned<std::int32_t>(packed.panels.count * panel_codes);
  Aligned<double> chunk(kChunk * packed.stride);
  Aligned<std::int32_t> rounded(kChunk * pairs);
  Aligned<double> residuals(kChunk);
  Aligned<double> norms(kChunk);
  double residual = 0.0;
  auto *integers = reinterpret_cast<unsigned char *>(packed.integers.data());
  for (std::int64_t first = 0; first < packed.panels.count * panel_codes; first += kChunk) {
    const std::int64_t count = std::min(kChunk, packed.panels.count * panel_codes - first);
    const std::int64_t real = std::clamp(packed.distinct - first, std::int64_t{0}, count);
    if (real > 0) {
      packed.isa->read(packed.matrix(), first, real, packed.stride, chunk.data());
      packed.isa->quantize(chunk.data(), packed.centre.data(), packed.scale, real, packed.stride,
                           pairs, rounded.data(), residuals.data(), norms.data());
      residual = std::max(residual, *std::max_element(residuals.data(), residuals.data() + real));
    }
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t code = first + row;
      const bool padding = code >= packed.distinct;
      const std::int64_t within = code % panel_codes;
      const std::int64_t place = within % kBlocks * lanes + within / kBlocks;
      const std::int64_t panel = code / panel_codes;
      const std::int64_t from = padding ? std::max<std::int64_t>(real, 1) - 1 : row;
      unsigned char *out = integers + (panel * pairs * panel_codes + place) * 4;
      for (std::int64_t pair = 0; pair < pairs; ++pair) {
        std::memcpy(out + pair * panel_codes * 4, rounded.data() + from * pairs + pair, 4);
      }
      const auto half_square = static_cast<std::int32_t>((norms.data()[from] + 1.0) * 0.5);
      packed.offsets.data()[panel * panel_codes + place] =
          -half_square - (padding ? kPaddingMark : 0);
    }
  }
  packed.code_residual = bounds::fixed_point_residual(residual, static_cast<double>(packed.dim));
  packed.panels.integers = packed.integers.data();
  packed.panels.offsets = packed.offsets.data();
}

/// Sort code indices so that each panel's share is compact: halve along the widest axis.
template <class Entry>
void split(const Entry *vectors, const Packed &packed, std::int32_t *begin, std::int32_t *end) {
  const std::int64_t panel_codes = kBlocks * packed.isa->lanes;
  const std::int64_t panels = (end - begin + panel_codes - 1) / panel_codes;
  if (panels < 2) return;
  std::int64_t widest = 0;
  double most = -1.0;
  for (std::int64_t d = 0; d < packed.dim; ++d) {
    Entry least = vectors[*begin * packed.stride + d];
    Entry greatest = least;
    for (const std::int32_t *code = begin; code < end; ++code) {
      least = std::min(least, vectors[*code * packed.stride + d]);
      greatest = std::max(greatest, vectors[*code * packed.stride + d]);
    }
    const double width = static_cast<double>(greatest) - static_cast<double>(least);
    if (width > most) {
      most = width;
      widest = d;
    }
  }
  std::int32_t *middle = begin + panels / 2 * panel_codes;
  std::nth_element(begin, middle, end, [&](std::int32_t a, std::int32_t b) {
    return vectors[a * packed.stride + widest] < vectors[b * packed.stride + widest];
  });
  split(vectors, packed, begin, middle);
  split(vectors, packed, middle, end);
}

template <class Entry>
void sort_codes(Packed &packed, Aligned<Entry> &vectors) {
  const auto codes = static_cast<std::size_t>(packed.distinct);
  const std::int64_t panel_codes = kBlocks * packed.isa->lanes;
  std::vector<std::int32_t> order(codes);
  std::iota(order.begin(), order.end(), 0);
  split(vectors.data(), packed, order.data(), order.data() + codes);

  const std::int64_t panels = (packed.distinct + panel_codes - 1) / panel_codes;
  packed.boxes.stride = padded(panels);
  packed.corners = Aligned<double>(2 * packed.dim * packed.boxes.stride);
  double *lower = packed.corners.data();
  double *upper = lower + packed.dim * packed.boxes.stride;
  std::fill_n(lower, packed.dim * packed.boxes.stride, HUGE_VAL);
  std::fill_n(upper, packed.dim * packed.boxes.stride, -HUGE_VAL);
  Aligned<Entry> sorted((packed.given + kBlocks - 1) * packed.stride);
  std::vector<std::int64_t> lowest(codes);
  for (std::size_t place = 0; place < codes; ++place) {
    const Entry *vector = vectors.data() + order[place] * packed.stride;
    std::copy_n(vector, packed.stride,
                sorted.data() + static_cast<std::int64_t>(place) * packed.stride);
    lowest[place] = packed.index(order[place]);
    const std::int64_t panel = static_cast<std::int64_t>(place) / panel_codes;
    for (std::int64_t d = 0; d < packed.dim; ++d) {
      double &low = lower[d * packed.boxes.stride + panel];
      double &high = upper[d * packed.boxes.stride + panel];
      low = std::min(low, static_cast<double>(vector[d]));
      high = std::max(high, static_cast<double>(vector[d]));
    }
  }
  std::fill_n(sorted.data() + packed.distinct * packed.stride, (kBlocks - 1) * packed.stride,
              Entry{0});
  vectors = std::move(sorted);
  packed.lowest = std::move(lowest);
  packed.boxes.lower = lower;
  packed.boxes.upper = upper;
  packed.sorted = true;
}

void quantize_codes(Packed &packed) {
  choose_groups(packed);
  if (packed.dim <= kSortedDims && packed.distinct >= kSortedCodes[packed.dim - 1]) {
    if (packed.wide) {
      sort_codes(packed, packed.wide_vectors);
    } else {
      sort_codes(packed, packed.narrow_vectors);
    }
  }
  Aligned<double> chunk(kChunk * packed.stride);
  Aligned<double> squares(packed.distinct);
  for (std::int64_t first = 0; first < packed.distinct; first += kChunk) {
    const std::int64_t count = std::min(kChunk, packed.distinct - first);
    packed.isa->read(packed.matrix(), first, count, packed.stride, chunk.data());
    packed.isa->squares(chunk.data(), packed.centre.data(), count, packed.stride,
                        squares.data() + first);
  }
  const double greatest = *std::max_element(squares.data(), squares.data() + packed.distinct);
  const double radius = bounds::norm_upper(greatest, static_cast<double>(packed.dim));
  if (packed.distinct > 1 && radius < kSmallest) {
    packed.refusal = Refusal::kExtreme;
    return;
  }
  packed.scale = bounds::FIXED_POINT_NORM / radius;
  fill_panels(packed);
}

}  // namespace

Matrix Packed::matrix() const {
  return {vectors(), wide ? Number::kFloat64 : Number::kFloat32, distinct, dim, stride, 1};
}

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
  quantize_codes(*packed);
  return packed;
}

}  // namespace certvq
