#include "deltas.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace certvq {
namespace {

constexpr std::size_t kRead = 96;  // rows at a time
constexpr int kDigit = 32;
constexpr std::int64_t kMask = (std::int64_t{1} << kDigit) - 1;
constexpr int kOneBits = 56;  // of numbers that one integer holds, 64 of them at least

}  // namespace

Deltas::Deltas(const Packed &packed, const Matrix &rows, const Ledger &ledger)
    : isa_(*packed.isa),
      rows_(rows),
      ledger_(ledger),
      dim_(packed.dim),
      stride_(packed.stride),
      plane_(packed.given * packed.dim),
      two_(ledger.sums.bits > kOneBits),
      width_(two_ ? 2 * packed.dim : packed.dim),
      factor_(std::ldexp(1.0, -ledger.sums.lowest)),
      limit_(std::ldexp(1.0, ledger.sums.bits)),
      room_(std::int64_t{1} << (two_ ? std::min(30, 62 + kDigit - ledger.sums.bits)
                                   : 62 - ledger.sums.bits)),
      exact_(static_cast<std::int64_t>(kRead) * packed.stride),
      whole_(static_cast<std::size_t>(width_)),
      sums_(static_cast<std::size_t>(packed.given * width_)),
      counts_(static_cast<std::size_t>(packed.given)),
      touched_(static_cast<std::size_t>(packed.given)) {}

void Deltas::apply() {
  const bool narrow = rows_.number == Number::kFloat32 && rows_.column_stride == 1;
  const auto *entries = static_cast<const char *>(rows_.data);
  const std::int64_t row_bytes = rows_.row_stride * static_cast<std::int64_t>(sizeof(float));
  for (std::size_t first = 0; first < moves_.size(); first += kRead) {
    const std::size_t last = std::min(first + kRead, moves_.size());
    if (!narrow) read(first, last);
    const double *exact = exact_.data();
    for (std::size_t place = first; place < last; ++place, exact += stride_) {
      const Move &move = moves_[place];
      const bool held =
          narrow ? convert<float>(entries + move.row * row_bytes) : convert<double>(exact);
      if (!held) return moves_.clear();
      if (move.from >= 0) add(move.from, -1);
      add(move.to, 1);
      if (move.from < 0 && ledger_.squares != nullptr) {
        for (const std::int64_t n : whole_) {
          squares_ += static_cast<unsigned __int128>(static_cast<__int128>(n) * n);
        }
      }
      if (++moved_ == room_) flush();
    }
  }
  moves_.clear();
}

/// Read the rows of some moves, at once if they follow each other.
void Deltas::read(std::size_t first, std::size_t last) {
  const auto count = static_cast<std::int64_t>(last - first);
  bool follow = true;  // no order is promised
  for (std::size_t place = first + 1; place < last; ++place) {
    follow &= moves_[place].row == moves_[place - 1].row + 1;
  }
  if (follow) {
    return isa_.read(rows_, moves_[first].row, count, stride_, exact_.data());
  }
  double *out = exact_.data();
  for (std::size_t place = first; place < last; ++place, out += stride_) {
    isa_.read(rows_, moves_[place].row, 1, stride_, out);
  }
}

/// Write a row of such numbers, next to each other, as whole numbers of units; false if the grid does
/// not hold it.
template <class Entry>
bool Deltas::convert(const void *row) {
  std::int64_t *out = whole_.data();
  const double factor = factor_;
  const double limit = limit_;
  const std::int64_t dim = dim_;
  const bool two = two_;
  bool within = true;
  bool whole = true;
  for (std::int64_t d = 0; d < dim; ++d) {
    Entry entry;  // by memcpy: it need not be aligned
    std::memcpy(&entry, static_cast<const char *>(row) + d * static_cast<std::int64_t>(sizeof entry), sizeof entry);
    const double value = static_cast<double>(entry) * factor;
    const bool inside = std::fabs(value) < limit;
    double rest = inside ? value : 0.0;
    within &= inside;
    if (two) {
      const auto high = static_cast<std::int64_t>(rest * 0x1p-32);
      rest -= static_cast<double>(high) * 0x1p+32;
      out[dim + d] = high;
    }
    const auto low = static_cast<std::int64_t>(rest);
    whole &= static_cast<double>(low) == rest;
    out[d] = low;
  }
  if (within && whole) return true;
  ledger_.found = within ? Looked::kTooFine : Looked::kTooGreat;
  return false;
}

void Deltas::add(std::int64_t cell, std::int64_t sign) {
  const auto place = static_cast<std::size_t>(cell);
  if (touched_[place] == 0) {
    touched_[place] = 1;
    cells_.push_back(cell);
  }
  counts_[place] += sign;
  std::int64_t *sum = sums_.data() + cell * width_;
  const std::int64_t *whole = whole_.data();
  if (sign > 0) {
    for (std::int64_t d = 0; d < width_; ++d) sum[d] += whole[d];
  } else {
    for (std::int64_t d = 0; d < width_; ++d) sum[d] -= whole[d];
  }
}

void Deltas::flush() {
  const std::lock_guard<std::mutex> lock(ledger_.mutex);
  for (const std::int64_t cell : cells_) {
    const auto place = static_cast<std::size_t>(cell);
    ledger_.sums.counts[cell] += counts_[place];
    counts_[place] = 0;
    touched_[place] = 0;
    std::int64_t *sum = sums_.data() + cell * width_;
    std::int64_t *digit = ledger_.sums.digits + cell * dim_;
    for (std::int64_t d = 0; d < dim_; ++d) carry(digit + d, 1, sum[d]);
    for (std::int64_t d = dim_; d < width_; ++d) carry(digit + plane_ + d - dim_, 2, sum[d]);
    std::fill_n(sum, width_, 0);
  }
  cells_.clear();
  moved_ = 0;
  if (ledger_.squares != nullptr) {
    squares_ += static_cast<unsigned __int128>(ledger_.squares->high) << 64 | ledger_.squares->low;
    ledger_.squares->low = static_cast<std::uint64_t>(squares_);
    ledger_.squares->high = static_cast<std::uint64_t>(squares_ >> 64);
    squares_ = 0;
  }
}

/// Add to the digit of the `place`, which counts from 1, and to those above it.
void Deltas::carry(std::int64_t *digit, std::int64_t place, std::int64_t value) const {
  for (; value != 0; ++place, digit += plane_) {
    if (place == ledger_.sums.places) {
      *digit += value;
      return;
    }
    const std::int64_t sum = *digit + (value & kMask);
    *digit = sum & kMask;
    value = (value >> kDigit) + (sum >> kDigit);
  }
}

}  // namespace certvq
