#include "second.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bounds.h"
#include "dense.h"
#include "exact.h"
#include "nearby.h"
#include "share.h"

namespace certvq {
namespace {

constexpr std::int64_t kFewTies = 64;  // more are compared densely

class Seconder {
 public:
  Seconder(const Packed &packed, const Matrix &latents, const std::int64_t *codes,
           const std::vector<std::int64_t> &places, std::int64_t *seconds, Progress &progress,
           std::function<void()> poll)
      : packed_(packed),
        latents_(latents),
        codes_(codes),
        places_(places),
        seconds_(seconds),
        progress_(progress),
        poll_(std::move(poll)),
        dim_(static_cast<double>(packed.dim)),
        nearby_(packed),
        sqdist_(Nearby::kCapacity),
        vector_(packed.stride) {}

  /// Decide rows [first, last), at most Block::most_rows of them, or put some aside.
  void decide(std::int64_t first, std::int64_t last);

  /// Decide the rows that were put aside.
  void finish();

 private:
  bool decide_row(std::int64_t row, std::int64_t own, std::int64_t &result, double &reached);
  std::int64_t nearest(std::int64_t own);
  bool among_ties(std::int64_t row, std::int64_t own, std::int64_t nearest, std::int64_t &result);

  const Packed &packed_;
  const Matrix &latents_;
  const std::int64_t *codes_;
  const std::vector<std::int64_t> &places_;  // of the user's codes
  std::int64_t *seconds_;
  Progress &progress_;
  std::function<void()> poll_;
  Pace pace_;
  double dim_;
  Nearby nearby_;
  Aligned<double> sqdist_;  // of the candidates to the row
  Aligned<double> vector_;  // (stride,)
  std::vector<std::int64_t> aside_;    // rows with very many candidates
  std::vector<double> aside_reached_;  // see Dense::decide
  std::unique_ptr<Dense> dense_;       // made when a row needs it
};

void Seconder::decide(std::int64_t first, std::int64_t last) {
  nearby_.read(latents_, first, last, progress_, poll_);
  for (std::int64_t row = 0; row < last - first && !progress_.stopped(); ++row) {
    std::int64_t result = -1;
    double reached = HUGE_VAL;
    const std::int64_t own = places_[static_cast<std::size_t>(codes_[first + row])];
    if (packed_.distinct > 1 && !decide_row(row, own, result, reached)) {
      aside_.push_back(first + row);
      aside_reached_.push_back(reached);
    }
    seconds_[first + row] = result;
  }
  if (static_cast<std::int64_t>(aside_.size()) >= Block::most_rows(packed_)) finish();
}

/// The filter needs a distance to say which codes are not farther: a few near codes give one, which
/// is `reached`. False if there are too many candidates.
bool Seconder::decide_row(std::int64_t row, std::int64_t own, std::int64_t &result,
                          double &reached) {
  const double *x = nearby_.block().exact(row);
  nearby_.guess(row, own);
  const std::int64_t guessed = nearby_.count();
  nearby_.sqdist(x, 0, guessed, sqdist_.data());
  std::int64_t found = nearest(own);
  if (found >= 0) reached = sqdist_.data()[found];
  if (!nearby_.find(row, bounds::border_reach(reached, 0.0, dim_))) return false;
  nearby_.sqdist(x, guessed, nearby_.count() - guessed, sqdist_.data() + guessed);
  found = nearest(own);
  return found >= 0 && among_ties(row, own, found, result);
}

/// The candidate that is computed to be the nearest besides the given code, -1 if there is none.
std::int64_t Seconder::nearest(std::int64_t own) {
  std::int64_t result = -1;
  for (std::int64_t pair = 0; pair < nearby_.count(); ++pair) {
    if (nearby_.codes()[pair] == own) continue;
    if (result < 0 || sqdist_.data()[pair] < sqdist_.data()[result]) result = pair;
  }
  return result;
}

/// Decide by integers among what float64 cannot tell from the nearest; false if that is too much.
bool Seconder::among_ties(std::int64_t row, std::int64_t own, std::int64_t nearest,
                          std::int64_t &result) {
  std::int32_t *codes = nearby_.codes();
  const std::int32_t code = codes[nearest];
  const double upper = bounds::sqdist_upper(sqdist_.data()[nearest], dim_);
  std::int64_t ties = 0;
  for (std::int64_t pair = 0; pair < nearby_.count(); ++pair) {
    const std::int32_t other = codes[pair];
    if (other == own || other == code) continue;
    if (bounds::sqdist_lower(sqdist_.data()[pair], dim_) > upper) continue;
    codes[ties++] = other;
  }
  result = packed_.index(code);
  if (ties == 0) return true;
  if (ties > kFewTies) return false;
  ExactRow among(nearby_.block().exact(row), packed_.dim);
  codes[ties++] = code;
  for (std::int64_t tie = 0; tie < ties; ++tie) {
    packed_.read_vector(codes[tie], vector_.data());
    among.consider(vector_.data(), codes[tie], packed_.index(codes[tie]));
    if (pace_.due(packed_.dim * Pace::kExactDim)) poll_();
    if (progress_.stopped()) return true;
  }
  result = packed_.index(among.nearest());
  return true;
}

void Seconder::finish() {
  if (aside_.empty()) return;
  if (!dense_) dense_ = std::make_unique<Dense>(packed_);
  Block block(packed_);
  const std::int64_t most = Block::most_rows(packed_);
  const auto goes_on = [this] {
    poll_();
    return !progress_.stopped();
  };
  for (std::size_t first = 0; first < aside_.size(); first += static_cast<std::size_t>(most)) {
    const std::int64_t *rows = aside_.data() + first;
    const std::int64_t count = std::min(most, static_cast<std::int64_t>(aside_.size() - first));
    const Refusal refusal = block.gather(latents_, rows, count);  // others may write meanwhile
    if (refusal != Refusal::kNone) return progress_.refuse(refusal);
    std::vector<std::int32_t> own;
    for (std::int64_t row = 0; row < count; ++row) {
      own.push_back(static_cast<std::int32_t>(places_[static_cast<std::size_t>(codes_[rows[row]])]));
    }
    std::vector<Dense::Choice> choices(static_cast<std::size_t>(count));
    if (!dense_->decide(block.exact(0), aside_reached_.data() + first, count, choices.data(),
                        goes_on, own.data())) {
      return;
    }
    for (std::int64_t row = 0; row < count; ++row) {
      seconds_[rows[row]] = packed_.index(choices[static_cast<std::size_t>(row)].code);
    }
  }
  aside_.clear();
  aside_reached_.clear();
}

}  // namespace

Refusal second(const Packed &packed, const Matrix &latents, const std::int64_t *codes, int threads,
               std::int64_t *seconds, const std::function<bool()> &interrupted) {
  const Work work{latents.rows, Block::most_rows(packed),
                  static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  const std::vector<std::int64_t> places = places_of_codes(packed);
  for (std::int64_t row = 0; row < latents.rows; ++row) {
    if (places[static_cast<std::size_t>(codes[row])] < 0) {
      throw std::invalid_argument("codes must be the lowest of equal code vectors, got " +
                                  std::to_string(codes[row]) + " at row " + std::to_string(row));
    }
  }
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto own = std::make_shared<Seconder>(packed, latents, codes, places, seconds, progress, poll);
    return Share{[own](std::int64_t first, std::int64_t last) { own->decide(first, last); },
                 [own] { own->finish(); }};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
