#include "approach.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <utility>

#include "bounds.h"
#include "closer.h"
#include "rounded.h"
#include "share.h"

namespace certvq {
namespace {

using Lists = std::vector<std::vector<Approach>>;

constexpr std::int64_t kBlockRows = 1024;

/// The vectors, and what is known of all rows by way of their owners.
struct Vectors {
  Vectors(const Isa &isa, const Matrix &given, const Matrix &owners)
      : stride(padded(given.columns)),
        count(given.rows),
        dim(given.columns),
        all(std::max<std::int64_t>(1, count) * stride),
        centre(dim),
        quarters(1 + owners.rows),
        known(owners.rows) {
    isa.read(given, 0, count, stride, all.data());
    measure(isa, owners);
  }

  const double *vector(std::int64_t each) const { return all.data() + each * stride; }

  std::int64_t stride, count, dim;
  Aligned<double> all;       // (count, stride)
  Aligned<double> centre;    // (dim,), of the owners
  Aligned<double> quarters;  // (known,): a row so near to this owner comes nearer to no vector
  std::int64_t known;

 private:
  void measure(const Isa &isa, const Matrix &owners);
};

void Vectors::measure(const Isa &isa, const Matrix &owners) {
  Aligned<double> some(kDenseCodes * stride), transposed(kDenseCodes * dim), computed(kDenseCodes);
  std::fill_n(centre.data(), dim, 0.0);
  for (std::int64_t first = 0; first < known; first += kDenseCodes) {
    const std::int64_t last = std::min<std::int64_t>(first + kDenseCodes, known);
    isa.read(owners, first, last - first, stride, some.data());
    isa.transpose(some.data(), true, 0, last - first, stride, dim, transposed.data());
    for (std::int64_t row = 0; row < last - first; ++row) {
      const double *owner = some.data() + row * stride;
      for (std::int64_t d = 0; d < dim; ++d) centre.data()[d] += owner[d] / static_cast<double>(known);
    }
    double *least = quarters.data();
    std::fill(least + first, least + last, HUGE_VAL);
    for (std::int64_t each = 0; each < count; ++each) {
      isa.dense(vector(each), transposed.data(), dim, computed.data());
      for (std::int64_t row = first; row < last; ++row) {
        least[row] = std::min(least[row], computed.data()[row - first]);
      }
    }
    for (std::int64_t row = first; row < last; ++row) {
      least[row] = least[row] < HUGE_VAL
                       ? bounds::quarter_sqdist(least[row], static_cast<double>(dim))
                       : -1.0;  // beyond float64, or there is no vector
    }
  }
}

/// One thread's blocks of rows.
class Finder {
 public:
  Finder(const Isa &isa, const Matrix &rows, const Nearest &nearest, const Vectors &vectors)
      : isa_(isa),
        rows_(rows),
        nearest_(nearest),
        vectors_(vectors),
        closer_(isa, vectors.all.data(), vectors.count, vectors.dim, vectors.centre.data()),
        factor_(bounds::farther_factor(static_cast<double>(rows.columns))),
        slack_(bounds::farther_slack(static_cast<double>(rows.columns))),
        block_(kDenseCodes * vectors.stride),
        transposed_(kDenseCodes * rows.columns),
        computed_(kDenseCodes),
        limits_(kDenseCodes),
        open_(kDenseCodes),
        found_(static_cast<std::size_t>(vectors.count)) {}

  void find(std::int64_t first, std::int64_t last) {
    const double *quarters = vectors_.quarters.data();
    const auto known = static_cast<std::uint64_t>(vectors_.known);
    for (; first < last; ++first) {
      const auto owner = static_cast<std::uint64_t>(nearest_.owner[first]);
      const bool near = owner < known && nearest_.sqdist[first] <= quarters[owner];
      open_.data()[opens_] = first;  // without a branch that could not be predicted
      opens_ += static_cast<std::int64_t>(!near);
      if (opens_ == kDenseCodes) few();
    }
  }

  void finish() {
    if (opens_ != 0) few();
  }

  const Lists &found() const { return found_; }

 private:
  /// Compare the open rows, with float32 if that excludes most of them.
  void few() {
    static_assert(kDirectRows == kDenseCodes && kDenseCodes == 64, "a bit for each row");
    double *limits = limits_.data();
    std::fill(limits, limits + kDenseCodes, -HUGE_VAL);
    for (std::int64_t row = 0; row < opens_; ++row) limits[row] = nearest_.sqdist[open_.data()[row]];
    const std::uint64_t all = ~std::uint64_t{0} >> (kDenseCodes - opens_);
    int near = 0;
    if (vectors_.known != 0) {
      closer_.compare(rows_, open_.data(), opens_, limits);
      for (std::int64_t each = 0; each < vectors_.count; ++each) {
        near += __builtin_popcountll(closer_.near(each) & all);
      }
    }
    if (vectors_.known == 0 || 4 * near > vectors_.count * opens_) {
      wider();
    } else if (near != 0) {
      for (std::int64_t each = 0; each < vectors_.count; ++each) {
        for (std::uint64_t bits = closer_.near(each) & all; bits != 0; bits &= bits - 1) {
          const std::int64_t row = __builtin_ctzll(bits);
          isa_.read(rows_, open_.data()[row], 1, vectors_.stride, block_.data());
          settle(open_.data()[row], block_.data(), each);
        }
      }
    }
    opens_ = 0;
  }

  /// Compare them in float64.
  void wider() {
    const std::int64_t stride = vectors_.stride;
    for (std::int64_t row = 0; row < opens_; ++row) {
      isa_.read(rows_, open_.data()[row], 1, stride, block_.data() + row * stride);
    }
    isa_.transpose(block_.data(), true, 0, opens_, stride, rows_.columns, transposed_.data());
    double *limits = limits_.data();
    double *computed = computed_.data();
    for (std::int64_t row = 0; row < opens_; ++row) limits[row] = limits[row] * factor_ + slack_;
    for (std::int64_t each = 0; each < vectors_.count; ++each) {
      isa_.dense(vectors_.vector(each), transposed_.data(), rows_.columns, computed);
      std::int64_t near = 0;  // no branch for each row
      for (int row = 0; row < kDenseCodes; ++row) near += computed[row] > limits[row] ? 0 : 1;
      for (std::int64_t row = 0; near > 0; ++row) {
        if (computed[row] > limits[row]) continue;
        settle(open_.data()[row], block_.data() + row * stride, each);
        --near;
      }
    }
  }

  void settle(std::int64_t number, const double *row, std::int64_t each) {
    const double rounded = rounded_sqdist(isa_, row, vectors_.vector(each), rows_.columns);
    if (!(rounded < nearest_.sqdist[number])) return;
    found_[static_cast<std::size_t>(each)].push_back({number, rounded});
  }

  const Isa &isa_;
  const Matrix &rows_;
  const Nearest &nearest_;
  const Vectors &vectors_;
  Closer closer_;
  double factor_;
  double slack_;
  Aligned<double> block_;       // (kDenseCodes, stride)
  Aligned<double> transposed_;  // (columns, kDenseCodes)
  Aligned<double> computed_;    // (kDenseCodes,)
  Aligned<double> limits_;      // (kDenseCodes,)
  Aligned<std::int64_t> open_;  // (kDenseCodes,), rows that may come nearer
  std::int64_t opens_ = 0;
  Lists found_;
};

}  // namespace

Refusal approaches(const Isa &isa, const Matrix &rows, const Nearest &nearest, const Matrix &vectors,
                   int threads, Lists &found, const std::function<bool()> &interrupted) {
  const Vectors read(isa, vectors, nearest.owners);
  const Work work{rows.rows, kBlockRows,
                  static_cast<double>(rows.rows) * static_cast<double>(rows.columns) *
                      static_cast<double>(vectors.rows)};
  std::mutex mutex;
  const auto make = [&](Progress &, const std::function<void()> &poll) {
    const auto own = std::make_shared<Finder>(isa, rows, nearest, read);
    return Share{[own, poll](std::int64_t first, std::int64_t last, std::int64_t) {
                   own->find(first, last);
                   poll();
                 },
                 [own, &mutex, &found] {
                   own->finish();
                   const std::lock_guard<std::mutex> lock(mutex);
                   for (std::size_t each = 0; each < found.size(); ++each) {
                     const auto &more = own->found()[each];
                     found[each].insert(found[each].end(), more.begin(), more.end());
                   }
                 }};
  };
  const Refusal refusal = share(work, threads, make, interrupted);
  const auto before = [](const Approach &a, const Approach &b) { return a.row < b.row; };
  for (auto &each : found) {  // threads take blocks in any order
    if (!std::is_sorted(each.begin(), each.end(), before)) std::sort(each.begin(), each.end(), before);
  }
  return refusal;
}

}  // namespace certvq
