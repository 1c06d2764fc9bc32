#include "ranking.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "bounds.h"
#include "nearby.h"
#include "share.h"

namespace certvq {
namespace {

// A key is less than its squared distance by 2^-41 of it, or 2^-1063 if that is subnormal, at most: what
// is not among the least keys is no nearer than the last of them by more.
constexpr double kKeyFactor = 1.0 + 0x1p-40;
constexpr double kKeySlack = 0x1p-1061;
static_assert(kMostKeys == 1 << 11, "the bits of a place");

class Ranker {
 public:
  Ranker(const Packed &packed, const Matrix &latents, int count, const Ranked &results,
         Progress &progress, std::function<void()> poll)
      : packed_(packed),
        latents_(latents),
        count_(count),
        results_(results),
        relative_(bounds::farther_factor(static_cast<double>(packed.dim)) * kKeyFactor),
        slack_(bounds::farther_slack(static_cast<double>(packed.dim)) + kKeySlack),
        nearby_(packed, places_, progress, std::move(poll)),
        all_(kMostKeys + kPad) {}

  /// Rank rows [first, last), at most Block::most_rows of them.
  void rank(std::int64_t first, std::int64_t last) {
    nearby_.each_ranked(latents_, first, last, count_, [this] { rank_block(); });
  }

 private:
  void rank_block();
  void rank_row(std::int64_t row, std::int64_t begin, std::int64_t end);

  const Packed &packed_;
  const Matrix &latents_;
  int count_;
  const Ranked &results_;
  double relative_;
  double slack_;
  std::vector<std::int64_t> places_;  // none: rows have no codes
  Nearby nearby_;
  Aligned<double> all_;  // squared distances of a row, if it is crowded
};

void Ranker::rank_block() {
  const Pairs &groups = nearby_.groups();
  std::int64_t end = 0;
  for (std::int64_t row = 0; row < nearby_.block().rows(); ++row) {
    const std::int64_t begin = end;
    while (end < groups.count && groups.rows[end] == row) ++end;
    rank_row(row, begin, end);
  }
}

/// Rank a row by groups [begin, end) and the codes that it collects.
void Ranker::rank_row(std::int64_t row, std::int64_t begin, std::int64_t end) {
  const std::int64_t number = nearby_.number(row);
  std::uint8_t &decided_by = results_.decided_by[number];
  decided_by = 0;
  const std::int64_t width = nearby_.width();
  const std::int64_t listed = (end - begin) * width;
  std::int64_t found = listed;
  const double *sqdist = nearby_.group_sqdist() + begin * width;
  if (nearby_.crowded(row)) {
    if (!nearby_.collect(row)) return;
    const Pairs &collected = nearby_.collected();
    found += collected.count;
    if (found > kMostKeys) return;
    std::copy_n(sqdist, listed, all_.data());
    std::copy_n(nearby_.collected_sqdist(), collected.count, all_.data() + listed);
    sqdist = all_.data();
  }
  double keys[2 * kPad];
  packed_.isa->sort_keys(sqdist, found, count_ >= kPad, keys);
  std::int64_t *codes = results_.codes + number * count_;
  double *distances = results_.sqdist + number * count_;
  for (int place = 0; place <= count_; ++place) {
    std::uint64_t key;
    std::memcpy(&key, &keys[place], sizeof key);
    const auto at = static_cast<std::int64_t>(key % kMostKeys);
    const double own = keys[place] < HUGE_VAL ? sqdist[at] : HUGE_VAL;
    if (place > 0 && !(own > distances[place - 1] * relative_ + slack_)) return;
    if (place == count_) break;
    if (!(own < HUGE_VAL)) return;  // padding
    codes[place] = packed_.index(at < listed ? nearby_.groups().codes[begin + at / width] + at % width
                                             : nearby_.collected().codes[at - listed]);
    distances[place] = own;
  }
  const double next = count_ > 1 ? distances[1] : HUGE_VAL;
  const double clear = (distances[0] + nearby_.clear(row)) * relative_ + slack_;
  decided_by = next > clear ? kFilter : kRefined;
}

}  // namespace

Refusal rank(const Packed &packed, const Matrix &latents, int count, int threads,
             const Ranked &results, const std::function<bool()> &interrupted) {
  const Work work{latents.rows, Block::most_rows(packed),
                  static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto own = std::make_shared<Ranker>(packed, latents, count, results, progress, poll);
    return Share{[own](std::int64_t first, std::int64_t last, std::int64_t) { own->rank(first, last); }, [] {}};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
