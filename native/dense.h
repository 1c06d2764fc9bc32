/// Rows that the filter cannot narrow down: compared with every code vector, in float64 and, among
/// what float64 cannot tell apart, in exact integers.
///
/// In: exact rows and a packed codebook. Out: the lowest nearest code of each row. Memory: the rows'
/// states and one chunk of code vectors, however many tie.

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "exact.h"
#include "packed.h"

namespace certvq {

/// Says when it is time to look for signals again: after about a millisecond of work.
class Pace {
 public:
  /// Work is given in nanoseconds, roughly.
  bool due(std::int64_t work) {
    done_ += work;
    if (done_ < kLong) return false;
    done_ = 0;
    return true;
  }
  /// What `ExactRow::consider` takes at most, about, for each dim.
  static constexpr std::int64_t kExactDim = 500;

 private:
  static constexpr std::int64_t kLong = 1 << 20;
  std::int64_t done_ = 0;
};

class Dense {
 public:
  explicit Dense(const Packed &packed);

  struct Choice {
    std::int32_t code;
    bool exact;  // whether integers decided
  };

  /// Decide rows of `packed.stride` doubles each; false if `goes_on` said no. `reached` are computed
  /// squared distances to some code vector, which bound the least ones. With `besides`, one code a
  /// row, which is left out: the lowest nearest one of all others is chosen, and there is one.
  bool decide(const double *rows, const double *reached, std::int64_t count, Choice *choices,
              const std::function<bool()> &goes_on, const std::int32_t *besides = nullptr);

 private:
  struct Row {
    double limit;                     // what is computed as farther is farther
    std::int32_t besides;             // a code that is left out, or -1
    bool crowded;                     // more open codes than are remembered
    std::vector<std::int32_t> open;   // codes that may be nearest
    std::vector<double> open_sqdist;  // their computed squared distances
  };

  struct Tied {
    Tied(const double *exact, std::int64_t dim, const Row &row, Choice *choice)
        : exact(exact), limit(row.limit), besides(row.besides), choice(choice),
          integers(static_cast<std::size_t>(dim)), among(exact, dim) {}
    const double *exact;
    double limit;
    std::int32_t besides;
    double least = 0.0;           // computed squared distance
    bool by_remainder = false;    // else by integers of any length
    bool sure = false;
    int rounds = 0;
    Choice *choice;
    std::vector<std::int64_t> integers;
    std::uint64_t remainder = 0;  // of the squared distance to the choice
    ExactRow among;
  };

  double limit(double least) const;
  void load(std::int64_t first, std::int64_t codes);
  double leave_out(std::int32_t besides, std::int64_t first, std::int64_t codes, double least);
  void narrow(const double *row, std::int64_t first, std::int64_t codes, Row &state);
  void close(const double *row, Row &state, Choice &choice);
  bool find_grid(const std::vector<Tied> &tied, int &exponent);
  bool goes_on(std::int64_t work);
  bool break_ties(std::vector<Tied> &tied);
  bool compare_chunk(Tied &row, std::int64_t first, std::int64_t codes);

  const Packed &packed_;
  double dim_;
  const std::function<bool()> *goes_on_ = nullptr;  // of the call at hand
  Pace pace_;
  Grid grid_;  // of the code vectors, found when it is needed first
  Aligned<double> transposed_;         // (dim, kDenseCodes)
  Aligned<double> sqdist_;             // (kDenseCodes,)
  Aligned<std::int64_t> integers_;     // (dim, kDenseCodes)
  Aligned<std::uint64_t> remainders_;  // (kDenseCodes,)
  std::vector<double> vector_;         // (stride,)
};

}  // namespace certvq
