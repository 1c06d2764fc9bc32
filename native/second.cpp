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
        nearby_(packed, places, progress, poll_),
        zeros_(static_cast<std::size_t>(Block::most_rows(packed)), 0.0),
        vector_(packed.stride) {}

  /// Decide rows [first, last), at most Nearby::share_rows of them, or put some aside.
  void decide(std::int64_t first, std::int64_t last);

  /// Decide the rows that were put aside.
  void finish();

 private:
  struct Candidate {
    std::int32_t code;
    double sqdist;
  };

  void decide_block();
  bool decide_row(std::int64_t row, std::int64_t begin, std::int64_t end, std::int64_t &result);
  void add_groups(std::int64_t row, const Pairs &groups, const double *sqdist, std::int64_t begin,
                  std::int64_t end);
  void add(std::int64_t row, std::int32_t code, double sqdist);
  bool among_ties(std::int64_t row, const Candidate &nearest, std::int64_t &result);

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
  std::vector<double> zeros_;          // (block,)
  std::vector<Candidate> candidates_;  // of the row at hand
  std::vector<std::int32_t> ties_;
  Aligned<double> vector_;  // (stride,)
  std::vector<std::int64_t> aside_;    // rows with very many candidates
  std::vector<double> aside_reached_;  // see Dense::decide
  std::unique_ptr<Dense> dense_;       // made when a row needs it
};

/// The filter needs a distance to say which codes are not farther: a few near codes give one.
void Seconder::decide(std::int64_t first, std::int64_t last) {
  const auto reach = [this](std::int64_t begin, std::int64_t count) {
    packed_.isa->reaches(count, nearby_.guess().least + begin, zeros_.data(), dim_,
                         nearby_.reach() + begin, nearby_.limit() + begin);
  };
  nearby_.each_block(latents_, codes_, first, last, reach, [this] { decide_block(); });
  if (static_cast<std::int64_t>(aside_.size()) >= Block::most_rows(packed_)) finish();
}

void Seconder::decide_block() {
  const std::int64_t rows = nearby_.block().rows();
  if (packed_.distinct == 1) {
    for (std::int64_t row = 0; row < rows; ++row) seconds_[nearby_.number(row)] = -1;
    return;
  }
  const Pairs &groups = nearby_.groups();
  const Guess &guess = nearby_.guess();
  const double relative = bounds::farther_factor(dim_);
  const double slack = bounds::farther_slack(dim_);
  std::int64_t end = 0;
  for (std::int64_t row = 0; row < rows && !progress_.stopped(); ++row) {
    const std::int64_t begin = end;
    while (end < groups.count && groups.rows[end] == row) ++end;
    const double least = guess.least[row];
    std::int64_t &result = seconds_[nearby_.number(row)];
    if (begin == end && !nearby_.crowded(row) && guess.next[row] > least * relative + slack) {
      result = packed_.index(guess.code[row]);
    } else if (!decide_row(row, begin, end, result)) {
      aside_.push_back(nearby_.number(row));
      aside_reached_.push_back(least);
    }
  }
}

/// Decide a row among the guessed groups, groups [begin, end) and the codes that it collects. False
/// if there are too many.
bool Seconder::decide_row(std::int64_t row, std::int64_t begin, std::int64_t end,
                          std::int64_t &result) {
  candidates_.clear();
  add(row, nearby_.guess().code[row], nearby_.guess().least[row]);
  add_groups(row, nearby_.guessed(), nearby_.guessed_sqdist(), 2 * row, 2 * row + 2);
  add_groups(row, nearby_.groups(), nearby_.group_sqdist(), begin, end);
  if (nearby_.crowded(row)) {
    if (!nearby_.collect(row)) return false;
    const Pairs &collected = nearby_.collected();
    for (std::int64_t pair = 0; pair < collected.count; ++pair) {
      add(row, collected.codes[pair], nearby_.collected_sqdist()[pair]);
    }
  }
  if (candidates_.empty()) return false;
  const auto nearest =
      std::min_element(candidates_.begin(), candidates_.end(),
                       [](const Candidate &a, const Candidate &b) { return a.sqdist < b.sqdist; });
  return among_ties(row, *nearest, result);
}

void Seconder::add_groups(std::int64_t row, const Pairs &groups, const double *sqdist,
                          std::int64_t begin, std::int64_t end) {
  const std::int64_t width = nearby_.width();
  for (std::int64_t group = begin; group < end; ++group) {
    for (std::int32_t member = 0; member < width; ++member) {
      add(row, groups.codes[group] + member, sqdist[group * width + member]);
    }
  }
}

void Seconder::add(std::int64_t row, std::int32_t code, double sqdist) {
  if (code != nearby_.own(row) && sqdist < HUGE_VAL) candidates_.push_back({code, sqdist});
}

/// Decide by integers among what float64 cannot tell from the nearest; false if that is too much.
bool Seconder::among_ties(std::int64_t row, const Candidate &nearest, std::int64_t &result) {
  const double upper = bounds::sqdist_upper(nearest.sqdist, dim_);
  ties_.clear();
  for (const Candidate &other : candidates_) {
    if (other.code == nearest.code || bounds::sqdist_lower(other.sqdist, dim_) > upper) continue;
    ties_.push_back(other.code);
  }
  result = packed_.index(nearest.code);
  if (ties_.empty()) return true;
  if (static_cast<std::int64_t>(ties_.size()) > kFewTies) return false;
  ExactRow among(nearby_.block().exact(row), packed_.dim);
  ties_.push_back(nearest.code);
  for (const std::int32_t code : ties_) {
    packed_.read_vector(code, vector_.data());
    among.consider(vector_.data(), code, packed_.index(code));
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
  const Work work{latents.rows, Nearby::share_rows(packed),
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
    return Share{[own](std::int64_t first, std::int64_t last, std::int64_t) { own->decide(first, last); },
                 [own] { own->finish(); }};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
