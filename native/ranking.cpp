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
constexpr std::int64_t kAhead = 8;  // rows whose results are fetched
constexpr double kWider = 1.25;  // of the expected squared distance, to have the next code too

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
        all_(kMostKeys + kPad),
        near_(kMostKeys + kPad),
        places_of_near_(kMostKeys) {}

  /// Rank rows [first, last), at most Nearby::share_rows of them.
  void rank(std::int64_t first, std::int64_t last) {
    nearby_.each_ranked(latents_, first, last, count_, [this] { rank_block(); });
  }

 private:
  void rank_block();
  /// Neighbours are written to all over the results.
  void fetch_results(std::int64_t number) const {
    __builtin_prefetch(results_.codes + number * count_, 1);
    __builtin_prefetch(results_.sqdist + number * count_, 1);
    __builtin_prefetch(results_.decided_by + number, 1);
  }
  void rank_row(std::int64_t row, std::int64_t begin, std::int64_t end);
  std::int64_t leave_out(const double *sqdist, std::int64_t count, double limit);

  const Packed &packed_;
  const Matrix &latents_;
  int count_;
  const Ranked &results_;
  double relative_;
  double slack_;
  std::vector<std::int64_t> places_;  // none: rows have no codes
  Nearby nearby_;
  Aligned<double> all_;  // squared distances of a row, if it is crowded
  Aligned<double> near_;  // those within a limit, and the place of each
  Aligned<std::int32_t> places_of_near_;
};

void Ranker::rank_block() {
  const Pairs &groups = nearby_.groups();
  const std::int64_t rows = nearby_.block().rows();
  std::int64_t end = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    if (row + kAhead < rows) fetch_results(nearby_.number(row + kAhead));
    const std::int64_t begin = end;
    while (end < groups.count && groups.rows[end] == row) ++end;
    rank_row(row, begin, end);
  }
}

/// Most codes of a group are far: sorting them takes longer than looking at them. Returns how many are
/// within the limit.
std::int64_t Ranker::leave_out(const double *sqdist, std::int64_t count, double limit) {
  double *near = near_.data();
  std::int32_t *places = places_of_near_.data();
  std::int64_t kept = 0;
  for (std::int64_t place = 0; place < count; ++place) {  // without a branch
    near[kept] = sqdist[place];
    places[kept] = static_cast<std::int32_t>(place);
    kept += static_cast<std::int64_t>(sqdist[place] <= limit);
  }
  return kept;
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
  const bool crowded = nearby_.crowded(row);
  if (crowded) {
    if (!nearby_.collect(row)) return;
    found += nearby_.collected().count;
  }
  if (found > kMostKeys) return;
  if (crowded) {
    std::copy_n(sqdist, listed, all_.data());
    std::copy_n(nearby_.collected_sqdist(), found - listed, all_.data() + listed);
    sqdist = all_.data();
  }
  double keys[2 * kPad];
  const bool many = count_ >= kPad;
  const std::int64_t few = many ? leave_out(sqdist, found, nearby_.expected(row) * kWider) : 0;
  const bool near = few > count_;  // the next code as well, so that none left out can be among them
  packed_.isa->sort_keys(near ? near_.data() : sqdist, near ? few : found, count_ + 1, keys);
  std::int64_t *codes = results_.codes + number * count_;
  double *distances = results_.sqdist + number * count_;
  for (int place = 0; place <= count_; ++place) {
    std::uint64_t key;
    std::memcpy(&key, &keys[place], sizeof key);
    const bool there = keys[place] < HUGE_VAL;
    auto at = static_cast<std::int64_t>(key % kMostKeys);
    if (near) at = there ? places_of_near_.data()[at] : 0;
    const double own = there ? sqdist[at] : HUGE_VAL;
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
  const Work work{latents.rows, Nearby::share_rows(packed),
                  static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto own = std::make_shared<Ranker>(packed, latents, count, results, progress, poll);
    return Share{[own](std::int64_t first, std::int64_t last, std::int64_t) { own->rank(first, last); }, [] {}};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
