#include "lloyd.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <mutex>
#include <vector>

#include "deltas.h"
#include "direct.h"
#include "lead.h"
#include "nearby.h"
#include "recheck.h"
#include "share.h"

namespace certvq {
namespace {

constexpr std::int64_t kShareRows = 96 * 32;  // many blocks, so that doubtful rows fill whole ones

/// One thread's share: finds the rows in doubt, decides them and moves them.
class Looker {
 public:
  Looker(const Packed &packed, const Matrix &rows, const Known &known,
         const std::vector<std::int64_t> &places, const Movers *movers, const Ledger &ledger, Progress &progress,
         const std::function<void()> &poll)
      : packed_(packed),
        rows_(rows),
        known_(known),
        progress_(progress),
        results_{known.codes,  nullptr,     nullptr,     known.drift,
                 known.others, known.leads, known.lowers},
        worker_(packed, rows, results_, progress, poll),
        deltas_(packed, rows, ledger),
        rechecks_(Recheck::pays(packed)),
        batch_(packed.sorted ? kSortedBatch : Block::most_rows(packed)) {
    if (Direct::pays(packed, rows.number)) {
      direct_ = std::make_unique<Direct>(packed);
      batch_ = kDirectRows;
    }
    if (!places.empty()) {
      recheck_ = std::make_unique<Recheck>(packed, rows, known, places, movers, progress, poll);
    }
    doubtful_ = Aligned<std::int64_t>(batch_);
  }

  void look(std::int64_t first, std::int64_t last, std::int64_t then);
  void finish();

 private:
  static constexpr std::int64_t kSortedBatch = 1 << 16;

  void decide(bool last);
  void decide_rows(const std::int64_t *rows, std::int64_t count);
  void decide_directly(const std::int64_t *rows, std::int64_t first, std::int64_t count);
  void take_in();

  const Packed &packed_;
  const Matrix &rows_;
  const Known &known_;
  Progress &progress_;
  Results results_;
  Worker worker_;
  Deltas deltas_;
  bool rechecks_;  // whether a pass may look twice
  std::int64_t batch_;
  std::unique_ptr<Direct> direct_;      // if it pays
  Aligned<std::int64_t> doubtful_;      // (batch,), rows
  std::int64_t doubts_ = 0;
  std::int64_t checked_ = 0;            // of these, the first of the doubtful ones
  std::unique_ptr<Recheck> recheck_;    // if it pays, and no vectors are equal
  std::vector<Move> pending_;           // rows that were given to the worker, and their old codes
};

void Looker::look(std::int64_t first, std::int64_t last, std::int64_t then) {
  const std::int64_t *codes = known_.codes;
  if (std::all_of(codes + first, codes + last, [](std::int64_t code) { return code == -1; })) {
    for (std::int64_t begin = first; begin < last && !progress_.stopped(); begin += batch_) {
      const std::int64_t end = std::min(begin + batch_, last);
      if (direct_) {
        decide_directly(nullptr, begin, end - begin);
        continue;
      }
      for (std::int64_t row = begin; row < end; ++row) pending_.push_back({row, -1, -1});
      worker_.decide(begin, end, end < last ? end : then);
      take_in();
    }
    return;
  }
  for (std::int64_t row = first; row < last && !progress_.stopped(); ++row) {
    const std::int64_t code = codes[row];
    const bool known = static_cast<std::uint64_t>(code) < static_cast<std::uint64_t>(packed_.given);
    if (!known && code != -1) return progress_.refuse(Refusal::kStopped);
    const double drift = known ? known_.drift[code] : HUGE_VAL;
    doubtful_.data()[doubts_] = row;  // without a branch that could not be predicted
    doubts_ += static_cast<std::int64_t>(!(drift < static_cast<double>(known_.leads[row])));
    if (doubts_ == batch_) decide(false);
  }
}

/// Unless these are the last rows, wait for more if few are left after a second look.
void Looker::decide(bool last) {
  if (recheck_) {
    doubts_ = checked_ + recheck_->clear(doubtful_.data() + checked_, doubts_ - checked_);
    checked_ = doubts_;
    if (!last && 4 * doubts_ < 3 * batch_) return;
  }
  const std::int64_t count = doubts_;
  doubts_ = checked_ = 0;
  if (direct_) return decide_directly(doubtful_.data(), 0, count);
  decide_rows(doubtful_.data(), count);
}

void Looker::decide_rows(const std::int64_t *rows, std::int64_t count) {
  for (std::int64_t place = 0; place < count; ++place) {
    pending_.push_back({rows[place], known_.codes[rows[place]], -1});
    known_.codes[rows[place]] = -1;
  }
  worker_.decide_rows(rows, count);
  take_in();
}

/// Decide rows of these numbers or else from `first` on; the worker gets those that float32 leaves
/// open.
void Looker::decide_directly(const std::int64_t *rows, std::int64_t first, std::int64_t count) {
  direct_->decide(rows_, rows, first, count);
  const bool parts = packed_.distinct < packed_.given;  // equal vectors may
  std::int64_t open[kDirectRows];
  std::int64_t left = 0;
  std::vector<Move> &moves = deltas_.moves();
  for (std::int64_t place = 0; place < count; ++place) {
    const std::int64_t row = rows == nullptr ? first + place : rows[place];
    const float lead = direct_->lead(place);
    if (!(lead > 0.0f)) {
      open[left++] = row;
      continue;
    }
    const std::int64_t code = packed_.index(direct_->code(place));
    known_.leads[row] =
        parts ? -HUGE_VALF : end_of(static_cast<double>(lead), known_.drift[code]);
    if (rechecks_) known_.lowers[row] = -HUGE_VALF;
    if (code == known_.codes[row]) continue;
    moves.push_back({row, known_.codes[row], code});
    known_.codes[row] = code;
  }
  deltas_.apply();
  if (left != 0) decide_rows(open, left);
}

/// Move what is decided; the worker may have put rows aside.
void Looker::take_in() {
  if (progress_.stopped()) return;
  std::size_t left = 0;
  for (const Move &move : pending_) {
    const std::int64_t code = known_.codes[move.row];
    if (code < 0) {
      pending_[left++] = move;
    } else if (code != move.from) {
      deltas_.moves().push_back({move.row, move.from, code});
    }
  }
  pending_.resize(left);
  deltas_.apply();
}

void Looker::finish() {
  if (doubts_ != 0) decide(true);
  if (progress_.stopped()) return;
  worker_.finish();
  take_in();
  deltas_.flush();
}

}  // namespace

Looked look(const Packed &packed, const Matrix &rows, const Known &known, const Movers *movers,
            const CellSums &sums, Squares *squares, int threads,
            const std::function<bool()> &interrupted) {
  const Work work{rows.rows, packed.sorted ? Worker::share_rows(packed) : kShareRows,
                  static_cast<double>(rows.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  std::mutex mutex;
  std::atomic<Looked> found{Looked::kDone};
  const Ledger ledger{sums, squares, mutex, found};
  std::vector<std::int64_t> places;
  if (Recheck::pays(packed) && packed.distinct == packed.given) places = places_of_codes(packed);
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto own = std::make_shared<Looker>(packed, rows, known, places, movers, ledger, progress,
                                              poll);
    return Share{[own](std::int64_t first, std::int64_t last, std::int64_t then) {
                   own->look(first, last, then);
                 },
                 [own] { own->finish(); }};
  };
  const Refusal refusal = share(work, threads, make, interrupted);
  return refusal != Refusal::kNone ? Looked::kRefused : found.load();
}

}  // namespace certvq
