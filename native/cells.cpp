#include "cells.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <memory>

#include "share.h"

namespace certvq {
namespace {

constexpr std::int64_t kChunk = 256;      // rows of one feature at a time, in the nearest cache
constexpr std::int64_t kBlockRows = 4096;
constexpr std::int64_t kFew = 32;         // limits that are compared one after the other
constexpr double kProducts = 32.0;  // fewer than an entry takes: threads begin on cold caches, and gain
                                    // nothing before 10^5 entries

/// One thread's blocks of rows. Counts are as wide as the numbers, which lets compilers compare
/// several at a time.
template <class Number, class Count>
class Cells {
 public:
  Cells(const Axes &axes, const Matrix &latents, const Rounded &results)
      : axes_(axes), latents_(latents), results_(results) {
    const auto *limits = static_cast<const Number *>(axes.limits);
    for (std::int64_t d = 0; d < latents.columns; ++d, limits += axes.most) {
      std::int64_t size = axes.most;
      while (size > 0 && limits[size - 1] == std::numeric_limits<Number>::infinity()) --size;
      sizes_.push_back(size);
    }
  }

  /// Return how many digits of rows [first, last) are 0.
  std::int64_t round(std::int64_t first, std::int64_t last) {
    std::int64_t lowest = 0;
    for (; first < last; first += kChunk) {
      const std::int64_t count = std::min(kChunk, last - first);
      std::uint64_t place = 1;
      for (std::int64_t d = 0; d < latents_.columns; ++d) {
        read(first, count, d);
        this->count(count, d);
        switch (axes_.entry_bytes) {
          case 2: write<std::uint16_t>(first, count, d); break;
          case 4: write<std::uint32_t>(first, count, d); break;
          default: write<std::uint64_t>(first, count, d); break;
        }
        join(first, count, place, d == 0);
        place *= static_cast<std::uint64_t>(axes_.levels[static_cast<std::size_t>(d)]);
        lowest += std::count(counts_, counts_ + count, Count{0});
      }
    }
    return lowest;
  }

 private:
  void read(std::int64_t first, std::int64_t count, std::int64_t d) {
    const Number *entry = static_cast<const Number *>(latents_.data) +
                          first * latents_.row_stride + d * latents_.column_stride;
    for (std::int64_t i = 0; i < count; ++i) {  // by memcpy: it need not be aligned
      std::memcpy(&numbers_[i], entry + i * latents_.row_stride, sizeof(Number));
    }
  }

  void count(std::int64_t count, std::int64_t d) {
    const Number *limits = static_cast<const Number *>(axes_.limits) + d * axes_.most;
    std::fill_n(counts_, count, Count{0});
    std::int64_t size = sizes_[static_cast<std::size_t>(d)];
    if (size <= kFew) {
      for (std::int64_t k = 0; k < size; ++k) {
        const Number limit = limits[k];
        for (std::int64_t i = 0; i < count; ++i) counts_[i] += limit < numbers_[i] ? 1 : 0;
      }
      return;
    }
    // Bisection of all numbers in step: none waits for its own last comparison.
    for (; size > 1; size -= size / 2) halve(limits, count, static_cast<Count>(size / 2));
    halve(limits, count, 1);
  }

  /// The first `half` limits from each count on are counted if the last of them is less.
  void halve(const Number *limits, std::int64_t count, Count half) {
    for (std::int64_t i = 0; i < count; ++i) {
      counts_[i] += limits[counts_[i] + half - 1] < numbers_[i] ? half : 0;
    }
  }

  template <class Entry>
  void write(std::int64_t first, std::int64_t count, std::int64_t d) {
    const Entry *entries = static_cast<const Entry *>(axes_.entries) + d * (axes_.most + 1);
    const std::int64_t stride = latents_.columns;
    Entry *out = static_cast<Entry *>(results_.vectors) + first * stride + d;
    for (std::int64_t i = 0; i < count; ++i) out[i * stride] = entries[counts_[i]];
  }

  /// Without sign, as what the last digit counts may be 2^63 where that digit is always 0.
  void join(std::int64_t first, std::int64_t count, std::uint64_t place, bool begin) {
    std::int64_t *codes = results_.codes + first;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint64_t before = begin ? 0 : static_cast<std::uint64_t>(codes[i]);
      codes[i] = static_cast<std::int64_t>(before + static_cast<std::uint64_t>(counts_[i]) * place);
    }
  }

  const Axes &axes_;
  const Matrix &latents_;
  const Rounded &results_;
  std::vector<std::int64_t> sizes_;  // (D,): limits below infinity
  Number numbers_[kChunk];
  Count counts_[kChunk];
};

template <class Number, class Count>
Refusal round_all(const Axes &axes, const Matrix &latents, int threads, const Rounded &results,
                  std::int64_t &lowest, const std::function<bool()> &interrupted) {
  const Work work{latents.rows, kBlockRows,
                  static_cast<double>(latents.rows) * static_cast<double>(latents.columns) * kProducts};
  std::atomic<std::int64_t> total{0};
  const auto make = [&](Progress &, const std::function<void()> &poll) {
    const auto own = std::make_shared<Cells<Number, Count>>(axes, latents, results);
    const auto block = [own, poll, &total](std::int64_t first, std::int64_t last, std::int64_t) {
      total += own->round(first, last);
      poll();
    };
    return Share{block, [] {}};
  };
  const Refusal refusal = share(work, threads, make, interrupted);
  lowest += total;
  return refusal;
}

}  // namespace

Refusal round_to_grid(const Axes &axes, const Matrix &latents, int threads, const Rounded &results,
                      std::int64_t &lowest, const std::function<bool()> &interrupted) {
  if (latents.number == Number::kFloat64) {
    return round_all<double, std::int64_t>(axes, latents, threads, results, lowest, interrupted);
  }
  return round_all<float, std::int32_t>(axes, latents, threads, results, lowest, interrupted);
}

}  // namespace certvq
