#include "approach.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "bounds.h"
#include "rounded.h"
#include "share.h"

namespace certvq {
namespace {

using Lists = std::vector<std::vector<Approach>>;

constexpr std::int64_t kBlockRows = 1024;

/// One thread's blocks of rows.
class Finder {
 public:
  Finder(const Isa &isa, const Matrix &rows, const double *sqdist, const Aligned<double> &vectors,
         std::int64_t count)
      : isa_(isa),
        rows_(rows),
        sqdist_(sqdist),
        vectors_(vectors),
        stride_(padded(rows.columns)),
        factor_(bounds::farther_factor(static_cast<double>(rows.columns))),
        slack_(bounds::farther_slack(static_cast<double>(rows.columns))),
        block_(kDenseCodes * stride_),
        transposed_(kDenseCodes * rows.columns),
        computed_(kDenseCodes),
        limits_(kDenseCodes),
        found_(static_cast<std::size_t>(count)) {}

  void find(std::int64_t first, std::int64_t last) {
    for (; first < last; first += kDenseCodes) few(first, std::min<std::int64_t>(kDenseCodes, last - first));
  }

  const Lists &found() const { return found_; }

 private:
  void few(std::int64_t first, std::int64_t count) {
    isa_.read(rows_, first, count, stride_, block_.data());
    isa_.transpose(block_.data(), true, 0, count, stride_, rows_.columns, transposed_.data());
    double *limits = limits_.data();
    double *computed = computed_.data();
    std::fill(limits, limits + kDenseCodes, -__builtin_huge_val());
    for (std::int64_t row = 0; row < count; ++row) limits[row] = sqdist_[first + row] * factor_ + slack_;
    const double *vector = vectors_.data();
    for (auto &own : found_) {
      isa_.dense(vector, transposed_.data(), rows_.columns, computed);
      std::int64_t near = 0;  // no branch for each row
      for (int row = 0; row < kDenseCodes; ++row) near += computed[row] > limits[row] ? 0 : 1;
      for (std::int64_t row = 0; near > 0; ++row) {
        if (computed[row] > limits[row]) continue;
        settle(first + row, block_.data() + row * stride_, vector, own);
        --near;
      }
      vector += stride_;
    }
  }

  void settle(std::int64_t number, const double *row, const double *vector, std::vector<Approach> &own) const {
    const double rounded = rounded_sqdist(isa_, row, vector, rows_.columns);
    if (rounded < sqdist_[number]) own.push_back({number, rounded});
  }

  const Isa &isa_;
  const Matrix &rows_;
  const double *sqdist_;
  const Aligned<double> &vectors_;  // (found, stride)
  std::int64_t stride_;
  double factor_;
  double slack_;
  Aligned<double> block_;       // (kDenseCodes, stride)
  Aligned<double> transposed_;  // (columns, kDenseCodes)
  Aligned<double> computed_;    // (kDenseCodes,)
  Aligned<double> limits_;      // (kDenseCodes,)
  Lists found_;
};

}  // namespace

Refusal approaches(const Isa &isa, const Matrix &rows, const double *sqdist, const Matrix &vectors,
                   int threads, Lists &found, const std::function<bool()> &interrupted) {
  const std::int64_t stride = padded(rows.columns);
  Aligned<double> read(std::max<std::int64_t>(1, vectors.rows) * stride);
  isa.read(vectors, 0, vectors.rows, stride, read.data());
  const Work work{rows.rows, kBlockRows,
                  static_cast<double>(rows.rows) * static_cast<double>(rows.columns) *
                      static_cast<double>(vectors.rows)};
  std::mutex mutex;
  const auto make = [&](Progress &, const std::function<void()> &poll) {
    const auto own = std::make_shared<Finder>(isa, rows, sqdist, read, vectors.rows);
    return Share{[own, poll](std::int64_t first, std::int64_t last, std::int64_t) {
                   own->find(first, last);
                   poll();
                 },
                 [own, &mutex, &found] {
                   const std::lock_guard<std::mutex> lock(mutex);
                   for (std::size_t each = 0; each < found.size(); ++each) {
                     const auto &more = own->found()[each];
                     found[each].insert(found[each].end(), more.begin(), more.end());
                   }
                 }};
  };
  const Refusal refusal = share(work, threads, make, interrupted);
  for (auto &each : found) {  // threads take blocks in any order
    std::sort(each.begin(), each.end(), [](const Approach &a, const Approach &b) { return a.row < b.row; });
  }
  return refusal;
}

}  // namespace certvq
