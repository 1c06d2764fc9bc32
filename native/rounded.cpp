#include "rounded.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "bounds.h"
#include "share.h"

namespace certvq {
namespace {

constexpr int kLimbBits = 32;
constexpr int kLimbs = 104;       // (2^513)^2 in units of 2^-2148, and room to add 2^63 of them
constexpr int kUnit = -2148;      // the square of the smallest number, as a power of two
constexpr int kSmallest = 1074;   // the place of the smallest number among the limbs' bits
constexpr int kMantissa = 53;
constexpr std::int64_t kMostAdded = 1 << 28;  // products, before a limb could overflow
constexpr double kFar = 0x1p+513;             // a difference whose square is infinite
constexpr double kLeast = 0x1p-900;           // of squared distances: no product loses bits to underflow,
constexpr double kMost = 0x1p+1000;           // and none is beyond float64
constexpr std::int64_t kMostDims = 1 << 24;   // of sqdist_pair_radius
constexpr double kProducts = 64.0;            // multiplications of a filter in the time of a coordinate
constexpr std::int64_t kBlockEntries = 1 << 14;

/// The magnitude of a finite double: a natural number times 2^(place - 1074).
struct Parts {
  std::uint64_t mantissa;
  int place;
};

Parts parts(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto exponent = static_cast<int>(bits >> 52 & 0x7FF);
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
  return exponent == 0 ? Parts{fraction, 0}
                       : Parts{fraction | std::uint64_t{1} << 52, exponent - 1};
}

/// A sum of products of doubles in which no bit is lost. Limbs may exceed their bits, or be
/// negative, until the carries are taken.
class Sum {
 public:
  /// Add a * b * 2^doublings. The product is below 2^1026.
  void add(double a, double b, int doublings) {
    const Parts first = parts(a);
    const Parts second = parts(b);
    const int place = first.place + second.place + doublings;
    const auto product = static_cast<unsigned __int128>(first.mantissa) * second.mantissa;
    const int shift = place % kLimbBits;
    const auto low = static_cast<unsigned __int128>(static_cast<std::uint64_t>(product)) << shift;
    const auto high = static_cast<unsigned __int128>(static_cast<std::uint64_t>(product >> 64)) << shift;
    const std::int64_t sign = std::signbit(a) == std::signbit(b) ? 1 : -1;
    std::int64_t *limb = limbs_ + place / kLimbBits;
    for (int i = 0; i < 3; ++i) {
      limb[i] += sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(low >> (kLimbBits * i)));
      limb[i + 2] += sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(high >> (kLimbBits * i)));
    }
    if (++added_ == kMostAdded) carry();
  }

  /// Round the sum, which is not negative, to nearest even.
  double rounded() {
    carry();
    int top = kLimbs - 1;
    while (top >= 0 && limbs_[top] == 0) --top;
    if (top < 0) return 0.0;
    const int highest =
        top * kLimbBits + 63 - __builtin_clzll(static_cast<std::uint64_t>(limbs_[top]));
    const int last = std::max(highest - kMantissa + 1, kSmallest);  // the place that is kept last
    std::uint64_t mantissa = from(last);
    const bool half = (from(last - 1) & 1) != 0;
    if (half && ((mantissa & 1) != 0 || any_below(last - 1))) ++mantissa;
    return std::ldexp(static_cast<double>(mantissa), last + kUnit);
  }

 private:
  void carry() {
    std::int64_t carried = 0;
    for (std::int64_t &limb : limbs_) {
      carried += limb;
      limb = carried & 0xFFFFFFFF;
      carried >>= kLimbBits;  // towards minus infinity
    }
    added_ = 0;
  }
  /// The 64 bits from a place on.
  std::uint64_t from(int place) const {
    unsigned __int128 bits = 0;
    for (int i = 2; i >= 0; --i) {
      const int limb = place / kLimbBits + i;
      bits = bits << kLimbBits | static_cast<std::uint64_t>(limb < kLimbs ? limbs_[limb] : 0);
    }
    return static_cast<std::uint64_t>(bits >> (place % kLimbBits));
  }
  bool any_below(int place) const {
    const int limb = place / kLimbBits;
    const std::int64_t part = limbs_[limb] & ((std::int64_t{1} << (place % kLimbBits)) - 1);
    return part != 0 || std::any_of(limbs_, limbs_ + limb, [](std::int64_t one) { return one != 0; });
  }

  std::int64_t limbs_[kLimbs] = {};
  std::int64_t added_ = 0;
};

/// One thread's blocks of rows.
class Rounder {
 public:
  Rounder(const Isa &isa, const Matrix &latents, const Matrix &codebook, const std::int64_t *codes,
          double *sqdist, Progress &progress, std::function<void()> poll)
      : isa_(isa),
        latents_(latents),
        codebook_(codebook),
        codes_(codes),
        sqdist_(sqdist),
        progress_(progress),
        poll_(std::move(poll)),
        stride_(padded(latents.columns)),
        row_(stride_),
        vector_(stride_) {}

  void round(std::int64_t first, std::int64_t last) {
    for (; first < last && !progress_.stopped(); ++first) {
      isa_.read(latents_, first, 1, stride_, row_.data());
      isa_.read(codebook_, codes_[first], 1, stride_, vector_.data());
      sqdist_[first] = rounded_sqdist(isa_, row_.data(), vector_.data(), latents_.columns);
    }
    poll_();
  }

 private:
  const Isa &isa_;
  const Matrix &latents_;
  const Matrix &codebook_;
  const std::int64_t *codes_;
  double *sqdist_;
  Progress &progress_;
  std::function<void()> poll_;
  std::int64_t stride_;
  Aligned<double> row_;     // (stride,)
  Aligned<double> vector_;  // (stride,)
};

}  // namespace

double summed_sqdist(const double *x, const double *y, std::int64_t dim) {
  Sum sum;
  double poison = 0.0;  // infinite where a square is beyond float64, NaN where an entry is
  for (std::int64_t d = 0; d < dim; ++d) {
    const double difference = x[d] - y[d];
    if (difference == 0.0) continue;
    if (!(std::fabs(difference) < kFar)) {
      poison += difference * difference;
      continue;
    }
    const double other = x[d] - difference;  // y, but for what rounding took from the difference
    const double left = (x[d] - (difference + other)) + (other - y[d]);
    sum.add(difference, difference, 0);
    if (left == 0.0) continue;
    sum.add(difference, left, 1);
    sum.add(left, left, 0);
  }
  return poison == 0.0 ? sum.rounded() : poison;
}

double rounded_sqdist(const Isa &isa, const double *x, const double *y, std::int64_t dim) {
  double pair[2];
  isa.sqdist_pair(x, y, padded(dim), pair);
  if (pair[0] > kLeast && pair[0] < kMost && dim <= kMostDims) {
    const double radius = bounds::sqdist_pair_radius(pair[0], static_cast<double>(dim));
    const double lower = pair[0] + (pair[1] - radius);
    if (lower == pair[0] + (pair[1] + radius)) return lower;  // all between them round alike
  }
  return summed_sqdist(x, y, dim);
}

Refusal rounded_sqdists(const Isa &isa, const Matrix &latents, const Matrix &codebook,
                        const std::int64_t *codes, int threads, double *sqdist,
                        const std::function<bool()> &interrupted) {
  const Work work{latents.rows, std::max<std::int64_t>(1, kBlockEntries / latents.columns),
                  static_cast<double>(latents.rows) * static_cast<double>(latents.columns) * kProducts};
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto own =
        std::make_shared<Rounder>(isa, latents, codebook, codes, sqdist, progress, poll);
    return Share{[own](std::int64_t first, std::int64_t last, std::int64_t) { own->round(first, last); }, [] {}};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
