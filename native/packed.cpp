#include "packed.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "axis_codes.h"
#include "bounds.h"
#include "byte_codes.h"

namespace certvq {
namespace {

constexpr std::int64_t kChunk = 64;            // code vectors that are read at once, at most
constexpr std::int64_t kSample = 128;          // code vectors whose mean is the centre, at most
constexpr double kLargestSquare = 0x1p+798;    // of the centre, and of the way from it to a vector
constexpr double kSmallest = 0x1p-400;
constexpr std::int64_t kLargestDim = 1 << 20;  // for FIXED_POINT_NORM
constexpr std::int64_t kSmallGroups = 1024;  // see `grouped`
// Codes from which leaving out panels pays, for dims 1, 2, ... (docs/performance.md); beyond, boxes
// around the panels overlap too much.
constexpr std::int64_t kSortedCodes[] = {4096, 4096, 4096, 8192, 16384, 65536};
constexpr std::int64_t kSortedDims = sizeof(kSortedCodes) / sizeof(kSortedCodes[0]);

/// Rows that are read at once, so that they stay in the first-level cache.
std::int64_t chunk_size(const Packed &packed) {
  return std::clamp<std::int64_t>(4096 / packed.stride, 4, kChunk);
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
  void prefetch(std::uint64_t hash) const {
    __builtin_prefetch(&places_[hash & (places_.size() - 1)], 1);
  }

 private:
  struct Place {
    std::uint32_t tag;
    std::int32_t index;
  };
  std::vector<Place> places_;
};

/// The mean of some rows, evenly apart: any point among the code vectors makes integers small, and
/// one pass over the codebook is saved. It is not finite if one of these rows is not.
void choose_centre(const Matrix &codebook, Packed &packed) {
  Matrix sample = codebook;
  sample.rows = std::min(codebook.rows, kSample);
  sample.row_stride *= codebook.rows / sample.rows;
  const std::int64_t chunk_rows = std::min(chunk_size(packed), sample.rows);
  Aligned<double> chunk(chunk_rows * packed.stride);
  double *centre = packed.centre.data();
  std::fill_n(centre, packed.stride, 0.0);
  for (std::int64_t first = 0; first < sample.rows; first += chunk_rows) {
    const std::int64_t count = std::min(chunk_rows, sample.rows - first);
    packed.isa->read(sample, first, count, packed.stride, chunk.data());
    for (std::int64_t row = 0; row < count; ++row) {
      for (std::int64_t d = 0; d < packed.stride; ++d) centre[d] += chunk.data()[row * packed.stride + d];
    }
  }
  for (std::int64_t d = 0; d < packed.stride; ++d) centre[d] /= static_cast<double>(sample.rows);
}

/// NaN and infinity come before numbers that are only too large.
template <class Entry>
Refusal refuse_row(const Entry *row, std::int64_t stride, Refusal before) {
  Entry poison = 0;  // NaN as soon as one entry is NaN or infinite
  for (std::int64_t d = 0; d < stride; ++d) poison += row[d] * Entry{0};
  const bool finite = poison == Entry{0};
  return finite && before != Refusal::kNotFinite ? Refusal::kExtreme : Refusal::kNotFinite;
}

/// Read the codebook, keep each vector once and look for numbers out of range. Returns the greatest
/// squared distance of a vector to the centre.
template <class Entry>
double fold(const Matrix &codebook, std::uint64_t hash_bits, Packed &packed, Aligned<Entry> &vectors) {
  const std::int64_t stride = packed.stride;
  const std::size_t bytes = static_cast<std::size_t>(stride) * sizeof(Entry);
  vectors = Aligned<Entry>((packed.given + kBlocks - 1) * stride);  // see Exact
  std::uint64_t hashes[kChunk];
  double squares[kChunk];
  double greatest = 0.0;
  FirstSeen seen(packed.given);
  const std::int64_t chunk_rows = chunk_size(packed);
  for (std::int64_t first = 0; first < packed.given; first += chunk_rows) {
    const std::int64_t count = std::min(chunk_rows, packed.given - first);
    Entry *chunk = vectors.data() + packed.distinct * stride;
    packed.isa->take(codebook, first, count, stride, chunk, hashes);
    packed.isa->measure(chunk, packed.wide, count, stride, packed.centre.data(), squares);
    for (std::int64_t row = 0; row < count; ++row) seen.prefetch(hashes[row] & hash_bits);
    Entry *next = chunk;
    for (std::int64_t row = 0; row < count; ++row) {
      const Entry *vector = chunk + row * stride;
      if (!(squares[row] < kLargestSquare)) {
        packed.refusal = refuse_row(vector, stride, packed.refusal);
        continue;
      }
      greatest = std::max(greatest, squares[row]);
      const auto same = [&](std::int64_t other) {
        return std::memcmp(vectors.data() + other * stride, vector, bytes) == 0;
      };
      if (seen.find_or_put(hashes[row] & hash_bits, packed.distinct, same)) {
        if (packed.lowest.empty()) {
          packed.lowest.resize(static_cast<std::size_t>(packed.distinct));
          std::iota(packed.lowest.begin(), packed.lowest.end(), std::int64_t{0});
        }
        continue;
      }
      if (!packed.lowest.empty()) packed.lowest.push_back(first + row);
      if (next != vector) std::memcpy(next, vector, bytes);
      ++packed.distinct;
      next += stride;
    }
  }
  std::fill_n(vectors.data() + packed.distinct * stride, (kBlocks - 1) * stride, Entry{0});
  return greatest;
}

/// Whether code vectors whose centre is too far from zero may be too large themselves.
bool out_of_range(const Packed &packed) {
  double square = 0.0;
  for (std::int64_t d = 0; d < packed.stride; ++d) square += packed.centre.data()[d] * packed.centre.data()[d];
  return !(square < kLargestSquare) || packed.dim > kLargestDim;
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

/// Write integers and offsets of the codes.
void fill_panels(Packed &packed) {
  const std::int64_t panel_codes = kBlocks * packed.isa->lanes;
  const std::int64_t pairs = packed.panels.pairs;
  packed.integers = Aligned<std::int16_t>(packed.panels.count * pairs * panel_codes * 2);
  packed.offsets = Aligned<std::int32_t>(packed.panels.count * panel_codes);
  Aligned<std::int32_t> rounded(pairs * panel_codes);
  double residual = 0.0;
  for (std::int64_t panel = 0; panel < packed.panels.count; ++panel) {
    const std::int64_t first = panel * panel_codes;
    residual = std::max(
        residual, packed.isa->write_panel(packed.vector(first), packed.wide,
                                          std::min(panel_codes, packed.distinct - first),
                                          packed.stride, packed.centre.data(), packed.scale, pairs,
                                          rounded.data(),
                                          packed.integers.data() + first * pairs * 2,
                                          packed.offsets.data() + first));
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

void quantize_codes(Packed &packed, double greatest) {
  choose_groups(packed);
  if (packed.dim <= kSortedDims && packed.distinct >= kSortedCodes[packed.dim - 1]) {
    if (packed.wide) {
      sort_codes(packed, packed.wide_vectors);
    } else {
      sort_codes(packed, packed.narrow_vectors);
    }
  }
  const double radius = bounds::norm_upper(greatest, static_cast<double>(packed.dim));
  if (packed.distinct > 1 && radius < kSmallest) {
    packed.refusal = Refusal::kExtreme;
    return;
  }
  packed.scale = bounds::FIXED_POINT_NORM / radius;
  fill_panels(packed);
}

}  // namespace

Packed::Packed() = default;
Packed::~Packed() = default;

const ByteCodes *Packed::byte_codes() const {
  std::call_once(bytes_made_, [this] {
    bytes_ = certvq::byte_codes(*this);
    if (bytes_) coarse_bytes_ += bytes_->bytes();
  });
  return bytes_.get();
}

const AxisCodes *Packed::axis_codes() const {
  std::call_once(axes_made_, [this] {
    axes_ = certvq::axis_codes(*this);
    if (axes_) coarse_bytes_ += axes_->bytes();
  });
  return axes_.get();
}

const void *Packed::vector(std::int64_t code) const {
  return wide ? static_cast<const void *>(wide_vectors.data() + code * stride)
              : static_cast<const void *>(narrow_vectors.data() + code * stride);
}

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

std::unique_ptr<Packed> pack(const Matrix &codebook, const Isa &isa, std::uint64_t hash_bits) {
  auto packed = std::make_unique<Packed>();
  packed->isa = &isa;
  packed->given = codebook.rows;
  packed->dim = codebook.columns;
  packed->stride = padded(codebook.columns);
  packed->wide = codebook.number == Number::kFloat64;
  packed->centre = Aligned<double>(packed->stride);
  choose_centre(codebook, *packed);
  const double greatest = packed->wide ? fold(codebook, hash_bits, *packed, packed->wide_vectors)
                                       : fold(codebook, hash_bits, *packed, packed->narrow_vectors);
  if (packed->refusal == Refusal::kNone && out_of_range(*packed)) packed->refusal = Refusal::kExtreme;
  if (packed->refusal == Refusal::kNone) quantize_codes(*packed, greatest);
  return packed;
}

}  // namespace certvq
