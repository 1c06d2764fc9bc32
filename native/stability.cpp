#include "stability.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "bounds.h"
#include "nearby.h"
#include "share.h"

namespace certvq {
namespace {

constexpr double kSmallGap = 0x1p-12;           // relative; below, a second formula errs less

class Bounder {
 public:
  Bounder(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
          const std::vector<std::int64_t> &places, double *radii, Progress &progress,
          std::function<void()> poll);

  /// Bound rows [first, last), at most Block::most_rows of them.
  void bound(std::int64_t first, std::int64_t last);

 private:
  double radius(std::int64_t row, std::int64_t own);
  double first_border(std::int64_t row, std::int64_t own);
  double measure(std::int64_t row, std::int64_t own, double radius);
  double border(std::int64_t row, std::int64_t code, double sqdist, double between);
  double measure_all(std::int64_t row, std::int64_t own, double radius);

  const Packed &packed_;
  const Matrix &latents_;
  const std::int64_t *codes_;
  const std::vector<std::int64_t> &places_;  // of the user's codes; -1 if an equal one is lower
  double *radii_;
  Progress &progress_;
  std::function<void()> poll_;
  double dim_;
  Nearby nearby_;
  Aligned<double> own_vector_;  // (stride,), of the given code
  Aligned<double> other_vector_;
  double own_sqdist_ = 0.0;  // of the row at hand to the code that was given
  Aligned<double> sqdist_;   // of the candidates to the row
  Aligned<double> between_;  // and to the given code
};

Bounder::Bounder(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
                 const std::vector<std::int64_t> &places, double *radii, Progress &progress,
                 std::function<void()> poll)
    : packed_(packed),
      latents_(latents),
      codes_(codes),
      places_(places),
      radii_(radii),
      progress_(progress),
      poll_(std::move(poll)),
      dim_(static_cast<double>(packed.dim)),
      nearby_(packed),
      own_vector_(packed.stride),
      other_vector_(packed.stride),
      sqdist_(Nearby::kCapacity),
      between_(Nearby::kCapacity) {}

void Bounder::bound(std::int64_t first, std::int64_t last) {
  nearby_.read(latents_, first, last, progress_, poll_);
  for (std::int64_t row = 0; row < last - first && !progress_.stopped(); ++row) {
    const std::int64_t own = places_[static_cast<std::size_t>(codes_[first + row])];
    if (own < 0) {
      radii_[first + row] = 0.0;  // an equal vector has a lower index
    } else {
      radii_[first + row] = packed_.distinct > 1 ? radius(row, own) : HUGE_VAL;
    }
  }
}

/// The filter needs a radius to say which codes can lower it: a few near codes give one.
double Bounder::radius(std::int64_t row, std::int64_t own) {
  packed_.read_vector(own, own_vector_.data());
  nearby_.guess(row, own);
  const double guessed = measure(row, own, first_border(row, own));
  if (guessed == 0.0) return 0.0;
  nearby_.resize(0);
  if (!nearby_.find(row, bounds::border_reach(own_sqdist_, guessed, dim_))) {
    return measure_all(row, own, guessed);
  }
  nearby_.sqdist(nearby_.block().exact(row), 0, nearby_.count(), sqdist_.data());
  return measure(row, own, guessed);
}

/// Measure the candidates' squared distances; return the distance to the border of the nearest one
/// besides the given code.
double Bounder::first_border(std::int64_t row, std::int64_t own) {
  const std::int32_t *codes = nearby_.codes();
  nearby_.sqdist(nearby_.block().exact(row), 0, nearby_.count(), sqdist_.data());
  std::int64_t nearest = -1;
  for (std::int64_t pair = 0; pair < nearby_.count(); ++pair) {
    if (codes[pair] == own) {
      own_sqdist_ = sqdist_.data()[pair];
    } else if (nearest < 0 || sqdist_.data()[pair] < sqdist_.data()[nearest]) {
      nearest = pair;
    }
  }
  if (nearest < 0) return HUGE_VAL;
  nearby_.sqdist(own_vector_.data(), nearest, 1, between_.data());
  return border(row, codes[nearest], sqdist_.data()[nearest], *between_.data());
}

/// Bound the distance to the border of a code from below; rounding counts where the gap is small.
double Bounder::border(std::int64_t row, std::int64_t code, double sqdist, double between) {
  const double dim = dim_;
  const double nearer = own_sqdist_;
  const double plain = bounds::border_distance_of_sqdist(sqdist, nearer, between, dim);
  if (sqdist - nearer > kSmallGap * sqdist) return plain;
  const double *z = nearby_.block().exact(row);
  const double *own = own_vector_.data();
  double *other = other_vector_.data();
  packed_.read_vector(code, other);
  double product = 0.0;
  for (std::int64_t d = 0; d < packed_.dim; ++d) {
    product += (own[d] - other[d]) * ((z[d] - own[d]) + (z[d] - other[d]));
  }
  return std::max(plain,
                  bounds::border_distance_of_product(product, sqdist, nearer, between, dim));
}

/// Return the least distance to a border of the candidates, whose squared distances are measured, or
/// `radius` if that is less.
double Bounder::measure(std::int64_t row, std::int64_t own, double radius) {
  std::int32_t *codes = nearby_.codes();
  double *distances = sqdist_.data();
  double *between = between_.data();
  const double limit = bounds::sqdist_limit(bounds::border_reach(own_sqdist_, radius, dim_), dim_);
  std::int64_t kept = 0;
  for (std::int64_t pair = 0; pair < nearby_.count(); ++pair) {
    if (codes[pair] == own || distances[pair] > limit) continue;
    codes[kept] = codes[pair];
    distances[kept++] = distances[pair];
  }
  nearby_.sqdist(own_vector_.data(), 0, kept, between);
  for (std::int64_t pair = 0; pair < kept; ++pair) {
    radius = std::min(radius, border(row, codes[pair], distances[pair], between[pair]));
  }
  return radius;
}

double Bounder::measure_all(std::int64_t row, std::int64_t own, double radius) {
  for (std::int64_t first = 0; first < packed_.distinct && radius > 0.0; first += Nearby::kCapacity) {
    nearby_.resize(std::min(Nearby::kCapacity, packed_.distinct - first));
    for (std::int64_t pair = 0; pair < nearby_.count(); ++pair) {
      nearby_.codes()[pair] = static_cast<std::int32_t>(first + pair);
    }
    nearby_.sqdist(nearby_.block().exact(row), 0, nearby_.count(), sqdist_.data());
    radius = measure(row, own, radius);
    poll_();
    if (progress_.stopped()) return 0.0;
  }
  return radius;
}

}  // namespace

Refusal stability(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
                  int threads, double *radii, const std::function<bool()> &interrupted) {
  const Work work{latents.rows, Block::most_rows(packed),
                  static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  const std::vector<std::int64_t> places = places_of_codes(packed);
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto own = std::make_shared<Bounder>(packed, latents, codes, places, radii, progress, poll);
    return Share{[own](std::int64_t first, std::int64_t last) { own->bound(first, last); }, [] {}};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
