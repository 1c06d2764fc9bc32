#include "stability.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "bounds.h"
#include "nearby.h"
#include "share.h"

namespace certvq {
namespace {

constexpr double kSmallGap = 0x1p-12;       // relative; below, a second formula errs less
constexpr std::int64_t kCandidates = 4096;  // borders that are measured at once

class Bounder {
 public:
  Bounder(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
          const std::vector<std::int64_t> &places, double *radii, Progress &progress,
          std::function<void()> poll)
      : packed_(packed),
        latents_(latents),
        codes_(codes),
        radii_(radii),
        progress_(progress),
        poll_(std::move(poll)),
        dim_(static_cast<double>(packed.dim)),
        nearby_(packed, places, progress, poll_),
        radius_(Block::most_rows(packed)),
        own_vector_(packed.stride),
        other_vector_(packed.stride),
        rows_(kCandidates + 1),
        own_(kCandidates),
        candidates_(kCandidates + 1),
        sqdist_(kCandidates + 1),
        nearer_(kCandidates),
        between_(kCandidates),
        borders_(kCandidates) {}

  /// Bound rows [first, last), at most Nearby::share_rows of them.
  void bound(std::int64_t first, std::int64_t last);

 private:
  void guess(std::int64_t first, std::int64_t count);
  void bound_block();
  void measure_all(std::int64_t row);
  void measure(const Pairs &groups, std::int64_t width, const double *sqdist);
  void measure(const Pairs &pairs);
  double fine_border(std::int64_t row, std::int32_t code, double sqdist, double between);

  const Packed &packed_;
  const Matrix &latents_;
  const std::int64_t *codes_;
  double *radii_;
  Progress &progress_;
  std::function<void()> poll_;
  double dim_;
  Nearby nearby_;
  Aligned<double> radius_;      // (block,)
  Aligned<double> own_vector_;  // (stride,), of the given code
  Aligned<double> other_vector_;
  Aligned<std::int32_t> rows_;  // (kCandidates,), as the following
  Aligned<std::int32_t> own_;
  Aligned<std::int32_t> candidates_;
  Aligned<double> sqdist_;   // to the row
  Aligned<double> nearer_;   // of the row to its own code
  Aligned<double> between_;  // of both codes
  Aligned<double> borders_;
};

void Bounder::bound(std::int64_t first, std::int64_t last) {
  const auto reach = [this](std::int64_t begin, std::int64_t count) { guess(begin, count); };
  nearby_.each_block(latents_, codes_, first, last, reach, [this] { bound_block(); });
}

/// The filter needs a radius to say which codes can lower it: a near code gives one.
void Bounder::guess(std::int64_t first, std::int64_t count) {
  const Guess &guess = nearby_.guess();
  for (std::int64_t row = first; row < first + count; ++row) {
    const std::int32_t own = std::max(nearby_.own(row), 0);
    own_.data()[row] = own;
    candidates_.data()[row] = guess.least[row] < HUGE_VAL ? guess.code[row] : own;
  }
  const Pairs pairs{own_.data() + first, candidates_.data() + first, count, count};
  packed_.isa->apart(packed_.vectors(), packed_.wide, packed_.stride, pairs, between_.data() + first);
  double *radius = radius_.data();
  packed_.isa->borders(count, guess.least + first, guess.own + first, between_.data() + first, dim_,
                       radius + first);
  for (std::int64_t row = first; row < first + count; ++row) {
    const double least = guess.least[row];
    if (nearby_.own(row) < 0) {
      radius[row] = 0.0;  // an equal vector has a lower index
    } else if (!(least < HUGE_VAL)) {
      radius[row] = HUGE_VAL;
    } else if (!(least - guess.own[row] > kSmallGap * least)) {
      radius[row] = std::max(radius[row], fine_border(row, guess.code[row], least, between_.data()[row]));
    }
  }
  double *reach = nearby_.reach();
  double *limit = nearby_.limit();
  packed_.isa->reaches(count, guess.own + first, radius + first, dim_, reach + first, limit + first);
  for (std::int64_t row = first; row < first + count; ++row) {
    if (radius[row] == 0.0) reach[row] = limit[row] = 0.0;  // nothing can lower it
    limit[row] = std::min(limit[row], DBL_MAX);             // padding is infinitely far
  }
}

void Bounder::bound_block() {
  const std::int64_t rows = nearby_.block().rows();
  double *radius = radius_.data();
  if (packed_.distinct == 1) {
    for (std::int64_t row = 0; row < rows; ++row) radius[row] = nearby_.own(row) < 0 ? 0.0 : HUGE_VAL;
  } else {
    const std::int64_t width = nearby_.width();
    measure(nearby_.guessed(), width, nearby_.guessed_sqdist());
    measure(nearby_.groups(), width, nearby_.group_sqdist());
    for (std::int64_t row = 0; row < rows; ++row) {
      if (radius[row] == 0.0 || !nearby_.crowded(row)) continue;
      if (nearby_.collect(row)) {
        measure(nearby_.collected(), 1, nearby_.collected_sqdist());
      } else {
        measure_all(row);
      }
      if (progress_.stopped()) return;
    }
  }
  for (std::int64_t row = 0; row < rows; ++row) radii_[nearby_.number(row)] = radius[row];
}

/// Compare a row with all codes.
void Bounder::measure_all(std::int64_t row) {
  for (std::int64_t first = 0; first < packed_.distinct; first += Nearby::kCapacity) {
    nearby_.list(row, first, std::min(Nearby::kCapacity, packed_.distinct - first));
    measure(nearby_.collected(), 1, nearby_.collected_sqdist());
    poll_();
    if (progress_.stopped()) return;
  }
}

/// Measure the borders of the codes of groups that are within the limits of their rows.
void Bounder::measure(const Pairs &groups, std::int64_t width, const double *sqdist) {
  const std::int64_t most = kCandidates / width;
  for (std::int64_t first = 0; first < groups.count; first += most) {
    const std::int64_t count = std::min(most, groups.count - first);
    Pairs kept{rows_.data(), candidates_.data(), 0, kCandidates};
    packed_.isa->keep_within({groups.rows + first, groups.codes + first, count, count}, width,
                             sqdist + first * width, nearby_.limit(), kept, sqdist_.data());
    measure(kept);
  }
}

void Bounder::measure(const Pairs &pairs) {
  const double *own_sqdist = nearby_.guess().own;
  for (std::int64_t pair = 0; pair < pairs.count; ++pair) {
    own_.data()[pair] = std::max(nearby_.own(pairs.rows[pair]), 0);
    nearer_.data()[pair] = own_sqdist[pairs.rows[pair]];
  }
  packed_.isa->apart(packed_.vectors(), packed_.wide, packed_.stride,
                     {own_.data(), pairs.codes, pairs.count, pairs.count}, between_.data());
  packed_.isa->borders(pairs.count, sqdist_.data(), nearer_.data(), between_.data(), dim_,
                       borders_.data());
  for (std::int64_t pair = 0; pair < pairs.count; ++pair) {
    const std::int32_t row = pairs.rows[pair];
    const std::int32_t code = pairs.codes[pair];
    if (code == own_.data()[pair]) continue;
    const double sqdist = sqdist_.data()[pair];
    double border = borders_.data()[pair];
    if (!(sqdist - nearer_.data()[pair] > kSmallGap * sqdist)) {
      border = std::max(border, fine_border(row, code, sqdist, between_.data()[pair]));
    }
    radius_.data()[row] = std::min(radius_.data()[row], border);
  }
}

/// Bound the distance to a border whose gap is small: there the rounding of squared distances counts.
double Bounder::fine_border(std::int64_t row, std::int32_t code, double sqdist, double between) {
  const double *z = nearby_.block().exact(row);
  double *own = own_vector_.data();
  double *other = other_vector_.data();
  packed_.read_vector(std::max(nearby_.own(row), 0), own);
  packed_.read_vector(code, other);
  double product = 0.0;
  for (std::int64_t d = 0; d < packed_.dim; ++d) {
    product += (own[d] - other[d]) * ((z[d] - own[d]) + (z[d] - other[d]));
  }
  return bounds::border_distance_of_product(product, sqdist, nearby_.guess().own[row], between, dim_);
}

}  // namespace

Refusal stability(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
                  int threads, double *radii, const std::function<bool()> &interrupted) {
  const Work work{latents.rows, Nearby::share_rows(packed),
                  static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  const std::vector<std::int64_t> places = places_of_codes(packed);
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto own = std::make_shared<Bounder>(packed, latents, codes, places, radii, progress, poll);
    return Share{[own](std::int64_t first, std::int64_t last, std::int64_t) { own->bound(first, last); }, [] {}};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
