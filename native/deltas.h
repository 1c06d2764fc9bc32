/// What one thread adds to the sums of cells, and takes away from them.
///
/// In: moves of rows from cell to cell. Out: exact sums. Numbers are added as one or two 64-bit
/// integers, the second of which counts in units of 2^32, and carried to the digits before they can
/// overflow; so any order gives the same digits.

#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "lloyd.h"

namespace certvq {

/// A row that leaves one cell for another; -1 is none.
struct Move {
  std::int64_t row;
  std::int64_t from;
  std::int64_t to;
};

/// What all threads add to.
struct Ledger {
  const CellSums &sums;
  Squares *squares;
  std::mutex &mutex;
  std::atomic<Looked> &found;
};

class Deltas {
 public:
  Deltas(const Packed &packed, const Matrix &rows, const Ledger &ledger);

  /// What `apply` moves, and clears.
  std::vector<Move> &moves() { return moves_; }
  void apply();

  /// Carry all to the digits.
  void flush();

 private:
  void read(std::size_t first, std::size_t last);
  template <class Entry>
  bool convert(const void *row);
  void add(std::int64_t cell, std::int64_t sign);
  void carry(std::int64_t *digit, std::int64_t place, std::int64_t value) const;

  const Isa &isa_;
  const Matrix &rows_;
  const Ledger &ledger_;
  std::int64_t dim_, stride_, plane_;
  bool two_;             // whether a number takes two integers
  std::int64_t width_;   // integers of a row: first those of units, then those of 2^32 units
  double factor_, limit_;
  std::int64_t room_;       // moves that 64 bits hold
  std::int64_t moved_ = 0;  // since the last flush
  std::vector<Move> moves_;
  Aligned<double> exact_;             // (kRead, stride)
  std::vector<std::int64_t> whole_;   // (width,), the row at hand
  std::vector<std::int64_t> sums_;    // (K, width)
  std::vector<std::int64_t> counts_;  // (K,)
  std::vector<std::uint8_t> touched_;  // (K,)
  std::vector<std::int64_t> cells_;    // those that were touched
  unsigned __int128 squares_ = 0;
};

}  // namespace certvq
