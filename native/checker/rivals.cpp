/// Threads, limits and lists of the checker's filter.
///
/// The radius. Let x be a latent, c_k the codes, m the centre (any vector), s the scale (a power of
/// two), A = s (x - m), B_k = s (c_k - m) over the reals, R >= |B_k| for all k, W = |A| R + R^2 / 2.
/// The nearest code has the greatest score T_k = A . B_k - |B_k|^2 / 2 (`isNearestCode_iff_score`).
/// Computed is t_k: with u = 2^-23, twice the unit roundoff of float32, so that any mode of
/// rounding is covered, and the unit roundoff of float64 far below u / (D + 8):
///   - A and B_k, in float64 and then rounded to float32: A . B_k changes by at most 3 u W;
///   - |B_k|^2 / 2, in float64 and then rounded: 2 u W;
///   - the sum of D + 1 terms in float32: gamma(D + 1) W (`dot_rounding_error_le`); that it is
///     taken of rounded numbers costs less than another u W;
///   - T_i of the given code, in float64: u W;
///   - a limit, rounded to float32: 2 u W;
///   - the evaluation of the radius itself in float64: u W.
/// All together gamma(D + 11) W; taken is gamma(D + 16) W. What underflows, or is flushed to zero,
/// is each time less than 2^-126 times a factor of at most |A|, R or 1, for no more than 2 D
/// products, D sums and 2 D conversions, and a few besides.
///
/// So t_k < T_i - E proves that k is farther than i. Where a t_j shows that j is nearer than i by
/// far, t_k < t_j - 2 E proves that k is farther than j. Besides, a code that equals one of lower
/// index is excluded. So no code that is excluded is the lowest nearest one: that is the given code
/// or among its rivals. The same holds among all codes but one, which is then neither i nor j nor k,
/// if no other equals it.
///
/// No sum overflows, so that no score is NaN: |A| <= 2^50 and R <= 2^8, as D <= 2^16. Whatever is
/// NaN by mistake is no less than any limit, and so excludes nothing where it is compared.

#include "rivals.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

namespace certvq_checker {
namespace {

constexpr int kMost = 32;           ///< rivals of a row; more are left to the caller
constexpr int kNoted = 4 * kMost;   ///< before the limit has risen
constexpr int kBlockBytes = 24576;  ///< of rows, beside a panel in the first cache

double gamma(double terms) { return terms * 0x1p-23 / (1.0 - terms * 0x1p-23); }

void set_limits(Block &block) {
  const Book &book = block.book;
  const double dim = static_cast<double>(book.dim);
  const double relative = block.widen * gamma(dim + 16.0);
  const double absolute = block.widen * (4.0 * dim + 8.0) * 0x1p-125;
  for (int row = 0; row < block.count; ++row) {
    const double length = std::sqrt(block.squares[row]) * (1.0 + 0x1p-20);
    const double weight = length * book.reach + 0.5 * book.reach * book.reach;
    const double radius = relative * weight + absolute * (2.0 + length + book.reach);
    const double score = block.products[row] - book.half[block.codes[row]];
    block.radius[row] = radius;
    if (length <= 0x1p50) {
      block.limit[row] = static_cast<float>(score - radius);
    } else {  // or NaN
      block.lost[static_cast<std::size_t>(row)] = 1;
    }
  }
}

/// Move what was found out of a block whose first row is `first`.
void collect(Block &block, std::int64_t first, Found &found, double *sqdist) {
  auto &rivals = block.rivals;
  const auto excluded = [&](const Rival &rival) {
    return block.lost[static_cast<std::size_t>(rival.row)] != 0 ||
           rival.score < block.limit[rival.row];
  };
  rivals.erase(std::remove_if(rivals.begin(), rivals.end(), excluded), rivals.end());
  std::fill(block.noted.begin(), block.noted.end(), 0);
  for (const Rival &rival : rivals) {
    if (++block.noted[static_cast<std::size_t>(rival.row)] > kMost) {
      block.lost[static_cast<std::size_t>(rival.row)] = 1;
    }
  }
  std::stable_sort(rivals.begin(), rivals.end(),
                   [](const Rival &a, const Rival &b) { return a.row < b.row; });
  for (const Rival &rival : rivals) {
    if (block.lost[static_cast<std::size_t>(rival.row)] != 0) continue;
    found.row.push_back(first + rival.row);
    found.rival.push_back(rival.code);
  }
  for (int row = 0; row < block.count; ++row) {
    if (block.lost[static_cast<std::size_t>(row)] != 0) found.given_up.push_back(first + row);
    sqdist[first + row] = block.sqdist[row];
  }
}

/// Calls `interrupted` a few times a second, in the thread that asks.
class Watch {
 public:
  Watch(bool (*interrupted)(), std::atomic<bool> &stop) : interrupted_(interrupted), stop_(stop) {}
  bool stopped() {
    if (interrupted_ != nullptr) {
      const auto now = std::chrono::steady_clock::now();
      if (now - last_ > std::chrono::milliseconds(50)) {
        last_ = now;
        if (interrupted_()) stop_ = true;
      }
    }
    return stop_;
  }

 private:
  bool (*interrupted_)();
  std::atomic<bool> &stop_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

int rows_of_a_block(const Book &book, const Level &level) {
  const std::int64_t fitting = kBlockBytes / 4 / book.dim / level.tile;
  return static_cast<int>(std::clamp<std::int64_t>(fitting, 4, 80)) * level.tile;
}

}  // namespace

Block::Block(const Book &book_, const Level &level_, double widen_, int rows_)
    : book(book_),
      level(level_),
      widen(widen_),
      capacity(rows_),
      entry(book_.padded),
      rows(rows_ * book_.dim),
      squares(rows_),
      products(rows_),
      sqdist(rows_),
      radius(rows_),
      limit(rows_),
      noted(static_cast<std::size_t>(rows_)),
      lost(static_cast<std::size_t>(rows_)) {}

void Block::reset(const std::int64_t *codes_, const std::int64_t *besides_, int count_) {
  codes = codes_;
  besides = besides_;
  count = count_;
  rivals.clear();
  for (int row = 0; row < capacity; ++row) limit[row] = std::numeric_limits<float>::infinity();
  std::fill(noted.begin(), noted.end(), 0);
  std::fill(lost.begin(), lost.end(), 0);
}

void note(Block &block, int row, std::int64_t first, const float *scores, int count) {
  float &limit = block.limit[row];
  if (limit == std::numeric_limits<float>::infinity()) return;  // given up, or there is no row
  for (int j = 0; j < count; ++j) {
    const float raised = static_cast<float>(scores[j] - 2.0 * block.radius[row]);
    if (raised > limit) limit = raised;
  }
  for (int j = 0; j < count; ++j) {
    if (scores[j] < limit) continue;
    block.rivals.push_back({first + j, scores[j], row});
    if (++block.noted[static_cast<std::size_t>(row)] > kNoted) {
      block.lost[static_cast<std::size_t>(row)] = 1;
      limit = std::numeric_limits<float>::infinity();
      return;
    }
  }
}

bool find_rivals(const Matrix &latents, const Matrix &codebook, const std::int64_t *codes,
                 const std::int64_t *besides, int threads, const Level &level, double widen,
                 bool (*interrupted)(), Found &found) {
  const Book book(codebook);
  if (!book.usable) return false;
  found.sqdist.reset(new double[static_cast<std::size_t>(latents.rows)]);
  const int step = rows_of_a_block(book, level);
  const std::int64_t blocks = (latents.rows + step - 1) / step;
  const std::int64_t panels = (book.size + kPanel - 1) / kPanel;
  std::vector<Found> parts(static_cast<std::size_t>(blocks));
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex lock;
  std::condition_variable finished;
  int running = 0;
  std::exception_ptr failure;

  const auto work = [&](bool (*ask)()) {
    try {
      Watch watch(ask, stop);
      Block block(book, level, widen, step);
      for (std::int64_t b = next++; b < blocks; b = next++) {
        const std::int64_t first = b * step, left = latents.rows - first;
        block.reset(codes + first, besides == nullptr ? nullptr : besides + first,
                    static_cast<int>(std::min<std::int64_t>(step, left)));
        level.weigh(block, latents, first, block.codes);
        set_limits(block);
        for (std::int64_t panel = 0; panel < panels; ++panel) {
          if (watch.stopped()) return;
          level.sweep(block, panel);
        }
        collect(block, first, parts[static_cast<std::size_t>(b)], found.sqdist.get());
      }
    } catch (...) {
      const std::lock_guard<std::mutex> held(lock);
      failure = std::current_exception();
      stop = true;
    }
  };
  const auto help = [&] {
    work(nullptr);
    const std::lock_guard<std::mutex> held(lock);
    --running;
    finished.notify_one();
  };
  const double worth = static_cast<double>(latents.rows) * static_cast<double>(book.size) *
                       static_cast<double>(book.dim) / 0x1p20;
  const auto most = static_cast<std::int64_t>(std::min(worth, static_cast<double>(threads)));
  std::vector<std::thread> helpers;
  for (std::int64_t i = 1; i < std::min(most, blocks); ++i) {
    const std::lock_guard<std::mutex> held(lock);
    try {
      helpers.emplace_back(help);
      ++running;
    } catch (const std::exception &) {
      break;  // no more threads, or no memory for them: fewer do it too
    }
  }
  work(interrupted);
  {
    std::unique_lock<std::mutex> held(lock);
    const auto pause = std::chrono::milliseconds(100);
    while (!finished.wait_for(held, pause, [&] { return running == 0; })) {
      if (interrupted != nullptr && !stop && interrupted()) stop = true;
    }
  }
  for (std::thread &helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
  for (const Found &part : parts) {
    found.row.insert(found.row.end(), part.row.begin(), part.row.end());
    found.rival.insert(found.rival.end(), part.rival.begin(), part.rival.end());
    found.given_up.insert(found.given_up.end(), part.given_up.begin(), part.given_up.end());
  }
  return true;
}

}  // namespace certvq_checker
