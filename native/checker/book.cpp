/// Reading of numbers, and the codebook as the sweep wants it.

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "rivals.h"

namespace certvq_checker {

#if defined(__x86_64__)
extern const Level kAvx512, kAvx2;
#endif
extern const Level kPortable;

const Level *const kLevels[] = {
#if defined(__x86_64__)
    &kAvx512, &kAvx2,
#endif
    &kPortable,
};
const int kLevelCount = sizeof(kLevels) / sizeof(kLevels[0]);

const Level &choose_level(const char *name) {
  for (const Level *level : kLevels) {
    const bool wanted = *name == '\0' || std::strcmp(name, level->name) == 0;
    if (wanted && level->supported()) return *level;
  }
  throw std::invalid_argument(std::string("unknown or not supported here: ") + name);
}

namespace {

float from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

double widen(double entry) { return entry; }
double widen(float entry) { return entry; }

struct Float16 {
  std::uint16_t bits;
};
struct Bfloat16 {
  std::uint16_t bits;
};

/// Subnormal numbers m 2^-24 are the difference of two normal ones, 2^-14 (1 + m 2^-10) and 2^-14.
double widen(Float16 entry) {
  const std::uint32_t magnitude = entry.bits & 0x7fffu, low = magnitude << 13;
  const float small = from_bits(low + (113u << 23)) - from_bits(113u << 23);
  const float normal = from_bits(low + (112u << 23));
  const float infinite = from_bits(low | 0x7f800000u);
  const float value = magnitude < 0x400u ? small : magnitude < 0x7c00u ? normal : infinite;
  return (entry.bits & 0x8000u) != 0 ? -value : value;
}

double widen(Bfloat16 entry) { return from_bits(static_cast<std::uint32_t>(entry.bits) << 16); }

/// By memcpy: the address need not be a multiple of the size.
template <class Entry>
double widen_at(const char *from) {
  Entry entry;
  std::memcpy(&entry, from, sizeof entry);
  return widen(entry);
}

template <class Entry>
void read(const Matrix &matrix, std::int64_t row, double *out) {
  constexpr std::int64_t kSize = sizeof(Entry);
  const char *from = static_cast<const char *>(matrix.data) + row * matrix.row_step * kSize;
  const std::int64_t columns = matrix.columns, step = matrix.column_step * kSize;
  if (step == kSize) {
    for (std::int64_t d = 0; d < columns; ++d) out[d] = widen_at<Entry>(from + d * kSize);
  } else {
    for (std::int64_t d = 0; d < columns; ++d) out[d] = widen_at<Entry>(from + d * step);
  }
}

std::int64_t up_to(std::int64_t size, std::int64_t unit) { return (size + unit - 1) / unit * unit; }

/// The first of each set of equal rows, in a table of open addresses.
class Firsts {
 public:
  Firsts(const double *rows, std::int64_t count, std::int64_t columns)
      : rows_(rows), columns_(columns) {
    std::size_t slots = 4;
    while (slots < 2 * static_cast<std::size_t>(count)) slots *= 2;
    table_.assign(slots, -1);
  }

  /// Return whether no row added before equals this one; 0.0 equals -0.0.
  bool add(std::int64_t row) {
    const double *own = rows_ + row * columns_;
    std::size_t slot = hash(own) & (table_.size() - 1);
    for (; table_[slot] >= 0; slot = (slot + 1) & (table_.size() - 1)) {
      const double *other = rows_ + table_[slot] * columns_;
      std::int64_t d = 0;
      while (d < columns_ && own[d] == other[d]) ++d;
      if (d == columns_) return false;
    }
    table_[slot] = row;
    return true;
  }

 private:
  std::size_t hash(const double *row) const {
    std::uint64_t value = 0;
    for (std::int64_t d = 0; d < columns_; ++d) {
      const double entry = row[d] + 0.0;  // 0.0 for -0.0
      std::uint64_t bits;
      std::memcpy(&bits, &entry, sizeof(bits));
      value = (value ^ bits) * 0x9e3779b97f4a7c15u;
      value ^= value >> 29;
    }
    return static_cast<std::size_t>(value);
  }

  const double *rows_;
  std::int64_t columns_;
  std::vector<std::int64_t> table_;
};

}  // namespace

void read_row(const Matrix &matrix, std::int64_t row, double *out) {
  switch (matrix.number) {
    case Number::kFloat64: return read<double>(matrix, row, out);
    case Number::kFloat32: return read<float>(matrix, row, out);
    case Number::kFloat16: return read<Float16>(matrix, row, out);
    case Number::kBfloat16: return read<Bfloat16>(matrix, row, out);
  }
}

Book::Book(const Matrix &codebook)
    : size(codebook.rows),
      dim(codebook.columns),
      padded(up_to(codebook.columns, kLanes)),
      entries(size * padded),
      centre(padded),
      half(size),
      panels(up_to(size, kPanel) * dim),
      starts(up_to(size, kPanel)) {
  for (std::int64_t k = 0; k < size; ++k) {
    double *entry = &entries[k * padded];
    read_row(codebook, k, entry);
    for (std::int64_t d = 0; d < dim; ++d) centre[d] += entry[d];
  }
  for (std::int64_t d = 0; d < dim; ++d) centre[d] /= static_cast<double>(size);
  double largest = 0.0;
  bool finite = true;
  for (std::int64_t k = 0; k < size; ++k) {
    for (std::int64_t d = 0; d < dim; ++d) {
      const double magnitude = std::fabs(entries[k * padded + d] - centre[d]);
      finite &= magnitude <= 0x1p800;  // false for NaN
      largest = magnitude > largest ? magnitude : largest;
    }
  }
  usable = finite && (largest == 0.0 || largest >= 0x1p-800) && dim <= 0x10000;
  if (!usable) return;
  int exponent = 0;
  std::frexp(largest, &exponent);
  scale = std::ldexp(1.0, -exponent);
  double longest = 0.0;
  Firsts firsts(entries.get(), size, padded);
  for (std::int64_t k = 0; k < up_to(size, kPanel); ++k) {
    float *out = &panels[k / kPanel * kPanel * dim + k % kPanel];
    if (k >= size) {
      starts[k] = kExcluded;
      continue;
    }
    const bool first = firsts.add(k);  // a later equal is never the lowest nearest
    const double *entry = &entries[k * padded];
    double squares = 0.0;
    for (std::int64_t d = 0; d < dim; ++d) {
      const double b = (entry[d] - centre[d]) * scale;
      squares += b * b;
      if (first) out[d * kPanel] = static_cast<float>(b);
    }
    half[k] = 0.5 * squares;
    starts[k] = first ? static_cast<float>(-half[k]) : kExcluded;
    longest = squares > longest ? squares : longest;
  }
  reach = std::sqrt(longest) * (1.0 + 0x1p-20);
}

}  // namespace certvq_checker
