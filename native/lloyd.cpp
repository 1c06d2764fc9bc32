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
    doubtful_ = Aligned<std::int64_t>(batch_ + kScanned);
  }

  void look(std::int64_t first, std::int64_t last, std::int64_t then);
  void finish();

 private:
  static constexpr std::int64_t kSortedBatch = 1 << 16;
  static constexpr std::int64_t kScanned = 256;  // rows whose doubts are gathered at once

  void gather(std::int64_t first, std::int64_t last);
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
  for (; first < last && !progress_.stopped(); first += kScanned) {
    gather(first, std::min(first + kScanned, last));
    if (progress_.stopped()) return;
    if (doubts_ >= batch_) decide(false);
  }
}

/// Add the rows whose lead is used up to the doubtful ones: through locals, which no store can alias,
/// and without a branch that could not be predicted.
void Looker::gather(std::int64_t first, std::int64_t last) {
  const std::int64_t *codes = known_.codes;
  const float *leads = known_.leads;
  const double *drift = known_.drift;
  const auto given = static_cast<std::uint64_t>(packed_.given);
  std::int64_t *doubtful = doubtful_.data();
  std::int64_t doubts = doubts_;
  bool wrong = false;
  for (std::int64_t row = first; row < last; ++row) {
    const auto code = static_cast<std::uint64_t>(codes[row]);
    const double moved = code < given ? drift[code] : HUGE_VAL;
    wrong |= code >= given && code + 1 != 0;
    doubtful[doubts] = row;
    doubts += static_cast<std::int64_t>(!(moved < static_cast<double>(leads[row])));
  }
  doubts_ = doubts;
  if (wrong) progress_.refuse(Refusal::kStopped);
}

/// Decide whole batches; unless these are the last rows, what is left waits for more.
void Looker::decide(bool last) {
  if (recheck_) {
    doubts_ = checked_ + recheck_->clear(doubtful_.data() + checked_, doubts_ - checked_);
    checked_ = doubts_;
  }
  std::int64_t count = doubts_ / batch_ * batch_;
  if (last || 4 * (doubts_ - count) >= 3 * batch_) count = doubts_;
  std::int64_t *doubtful = doubtful_.data();
  if (direct_) {
    for (std::int64_t first = 0; first < count && !progress_.stopped(); first += batch_) {
      decide_directly(doubtful + first, 0, std::min(batch_, count - first));
    }
  } else if (count != 0) {
    decide_rows(doubtful, count);
  }
  std::copy(doubtful + count, doubtful + doubts_, doubtful);
  doubts_ -= count;
  checked_ = recheck_ ? doubts_ : 0;
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
  std::int64_t *codes = known_.codes;
  float *leads = known_.leads;
  const double *drift = known_.drift;
  Move changes[kDirectRows];
  std::int64_t open[kDirectRows];
  std::int64_t changed = 0;
  std::int64_t left = 0;
  for (std::int64_t place = 0; place < count; ++place) {  // no branch that could be guessed wrong
    const std::int64_t row = rows == nullptr ? first + place : rows[place];
    const std::int64_t code = packed_.index(direct_->code(place));
    const std::int64_t before = codes[row];
    const float lead = direct_->lead(place);
    const bool sure = lead > 0.0f;
    const float end = end_of(static_cast<double>(lead), drift[code]);
    leads[row] = sure && !parts ? end : -HUGE_VALF;
    codes[row] = sure ? code : before;
    changes[changed] = {row, before, code};
    changed += static_cast<std::int64_t>(sure && code != before);
    open[left] = row;
    left += static_cast<std::int64_t>(!sure);
    if (rechecks_) known_.lowers[row] = -HUGE_VALF;
  }
  deltas_.moves().insert(deltas_.moves().end(), changes, changes + changed);
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
