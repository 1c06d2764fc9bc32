#include "averages.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

namespace certvq {
namespace {

constexpr std::int64_t kNone = -1;

/// Adds up the tokens of each code that occurs; rows of the sums lie in the order in which codes come.
class Sums {
 public:
  Sums(std::int64_t codebook_size, std::int64_t columns)
      : places_(static_cast<std::size_t>(codebook_size), kNone), columns_(columns) {}

  template <class Number>
  void add(const Matrix &tokens, const std::int64_t *codes) {
    const Number *row = static_cast<const Number *>(tokens.data);
    for (std::int64_t n = 0; n < tokens.rows; ++n, row += tokens.row_stride) {
      double *sum = find(codes[n]);
      if (tokens.column_stride == 1) {
        for (std::int64_t d = 0; d < columns_; ++d) sum[d] += read(row + d);
      } else {
        for (std::int64_t d = 0; d < columns_; ++d) sum[d] += read(row + d * tokens.column_stride);
      }
    }
  }

  template <class Entry>
  void give(Entry *counts, Entry *sums) const {
    for (std::size_t place = 0; place < codes_.size(); ++place) {
      const std::int64_t code = codes_[place];
      const double *sum = sums_.data() + static_cast<std::int64_t>(place) * columns_;
      counts[code] += static_cast<Entry>(counts_[place]);
      Entry *out = sums + code * columns_;
      for (std::int64_t d = 0; d < columns_; ++d) out[d] = static_cast<Entry>(out[d] + sum[d]);
    }
  }

 private:
  template <class Number>
  static double read(const Number *entry) {  // by memcpy: it need not be aligned
    Number value;
    std::memcpy(&value, entry, sizeof value);
    return value;
  }

  double *find(std::int64_t code) {
    std::int64_t &place = places_[static_cast<std::size_t>(code)];
    if (place == kNone) {
      place = static_cast<std::int64_t>(codes_.size());
      codes_.push_back(code);
      counts_.push_back(0);
      sums_.resize(sums_.size() + static_cast<std::size_t>(columns_), 0.0);
    }
    ++counts_[static_cast<std::size_t>(place)];
    return sums_.data() + place * columns_;
  }

  std::vector<std::int64_t> places_;  // (K,), of each code among those that occur
  std::vector<std::int64_t> codes_, counts_;
  std::vector<double> sums_;
  std::int64_t columns_;
};

}  // namespace

template <class Entry>
void add_batch(const Matrix &tokens, const std::int64_t *codes, std::int64_t codebook_size,
               Entry *counts, Entry *sums) {
  Sums found(codebook_size, tokens.columns);
  if (tokens.number == Number::kFloat64) {
    found.add<double>(tokens, codes);
  } else {
    found.add<float>(tokens, codes);
  }
  found.give(counts, sums);
}

template <class Entry>
void take_in(const Averages<Entry> &averages, const Step &step) {
  const auto decay = static_cast<Entry>(step.decay), fresh = static_cast<Entry>(step.fresh);
  const std::int64_t columns = averages.columns;
  for (std::int64_t code = 0; code < averages.rows; ++code) {
    Entry *sums = averages.sums + code * columns;
    Entry *pending = averages.pending_sums + code * columns;
    for (std::int64_t d = 0; d < columns; ++d) {
      sums[d] = sums[d] * decay + pending[d] * fresh;
      pending[d] = 0;
    }
    if (averages.pending_counts[code] > 0) {
      const double smoothed = (averages.counts[code] + step.extra) * step.scale;
      Entry *vector = averages.codebook + code * columns;
      for (std::int64_t d = 0; d < columns; ++d) vector[d] = static_cast<Entry>(sums[d] / smoothed);
      if (averages.written != averages.codebook) {
        std::copy_n(vector, columns, averages.written + code * columns);
      }
    }
    averages.pending_counts[code] = 0;
  }
}

template void add_batch(const Matrix &, const std::int64_t *, std::int64_t, float *, float *);
template void add_batch(const Matrix &, const std::int64_t *, std::int64_t, double *, double *);
template void take_in(const Averages<float> &, const Step &);
template void take_in(const Averages<double> &, const Step &);

}  // namespace certvq
