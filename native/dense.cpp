#include "dense.h"

#include <algorithm>
#include <cmath>

#include "bounds.h"
#include "exact.h"

namespace certvq {
namespace {

constexpr std::size_t kOpenCodes = 64;  // remembered of each row
constexpr std::int64_t kGridDim = 5;    // nanoseconds
constexpr double kHalfRange = 0x1p+62;  // differences below are known from their remainders mod 2^64
constexpr int kWidest = 61;             // bits of an integer, so that differences fit 63
constexpr int kLargestExponent = 450;   // so that the scaling by the square is in range

}  // namespace

Dense::Dense(const Packed &packed)
    : packed_(packed),
      dim_(static_cast<double>(packed.dim)),
      transposed_(packed.dim * kDenseCodes),
      sqdist_(kDenseCodes),
      integers_(packed.dim * kDenseCodes),
      remainders_(kDenseCodes),
      vector_(static_cast<std::size_t>(packed.stride)) {}

/// Return what no nearest code is computed to exceed, if the least computed distance is `least`.
double Dense::limit(double least) const {
  return least * bounds::farther_factor(dim_) + bounds::farther_slack(dim_);
}

void Dense::load(std::int64_t first, std::int64_t codes) {
  packed_.isa->transpose(packed_.vectors(), packed_.wide, first, codes, packed_.stride, packed_.dim,
                         transposed_.data());
}

bool Dense::decide(const double *rows, const double *reached, std::int64_t count, Choice *choices,
                   const std::function<bool()> &goes_on, const std::int32_t *besides) {
  goes_on_ = &goes_on;
  std::vector<Row> states(static_cast<std::size_t>(count), Row{HUGE_VAL, -1, false, {}, {}});
  for (std::int64_t row = 0; row < count; ++row) {
    states[static_cast<std::size_t>(row)].limit = limit(reached[row]);
    if (besides != nullptr) states[static_cast<std::size_t>(row)].besides = besides[row];
  }
  for (std::int64_t first = 0; first < packed_.distinct; first += kDenseCodes) {
    const std::int64_t codes = std::min<std::int64_t>(kDenseCodes, packed_.distinct - first);
    load(first, codes);
    for (std::int64_t row = 0; row < count; ++row) {
      narrow(rows + row * packed_.stride, first, codes, states[static_cast<std::size_t>(row)]);
    }
    if (!goes_on()) return false;
  }
  std::vector<Tied> tied;
  for (std::int64_t row = 0; row < count; ++row) {
    Row &state = states[static_cast<std::size_t>(row)];
    const double *exact = rows + row * packed_.stride;
    if (state.crowded) {
      tied.emplace_back(exact, packed_.dim, state, choices + row);
    } else {
      close(exact, state, choices[row]);
      if (!this->goes_on(static_cast<std::int64_t>(state.open.size()) * packed_.dim * Pace::kExactDim)) return false;
    }
  }
  while (!tied.empty()) {
    if (!break_ties(tied)) return false;
    tied.erase(std::remove_if(tied.begin(), tied.end(), [](const Tied &row) { return row.sure; }),
               tied.end());
  }
  return true;
}

/// Make the squared distance of one code of a chunk infinite; return the least of the others.
double Dense::leave_out(std::int32_t besides, std::int64_t first, std::int64_t codes, double least) {
  const std::int64_t place = besides - first;
  if (besides < 0 || place < 0 || place >= codes) return least;
  double *sqdist = sqdist_.data();
  sqdist[place] = HUGE_VAL;
  return *std::min_element(sqdist, sqdist + codes);
}

/// Keep what may be nearest of one chunk of codes.
void Dense::narrow(const double *row, std::int64_t first, std::int64_t codes, Row &state) {
  if (state.crowded) return;
  const double least =
      leave_out(state.besides, first, codes,
                packed_.isa->dense(row, transposed_.data(), packed_.dim, sqdist_.data()));
  if (least > state.limit) return;
  state.limit = std::min(state.limit, limit(least));
  for (std::int64_t code = 0; code < codes; ++code) {
    const double value = sqdist_.data()[code];
    if (value > state.limit || first + code == state.besides) continue;
    if (state.open.size() == kOpenCodes) {  // forget what is no longer open
      std::size_t kept = 0;
      for (std::size_t i = 0; i < kOpenCodes; ++i) {
        if (state.open_sqdist[i] > state.limit) continue;
        state.open[kept] = state.open[i];
        state.open_sqdist[kept++] = state.open_sqdist[i];
      }
      state.open.resize(kept);
      state.open_sqdist.resize(kept);
      if (kept == kOpenCodes) {
        state.crowded = true;
        return;
      }
    }
    state.open.push_back(static_cast<std::int32_t>(first + code));
    state.open_sqdist.push_back(value);
  }
}

/// Decide a row among the few codes that it remembers.
void Dense::close(const double *row, Row &state, Choice &choice) {
  ExactRow among(row, packed_.dim);
  int left = 0;
  for (std::size_t i = 0; i < state.open.size(); ++i) {
    if (state.open_sqdist[i] > state.limit) continue;
    packed_.read_vector(state.open[i], vector_.data());
    among.consider(vector_.data(), state.open[i], packed_.index(state.open[i]));
    ++left;
  }
  choice = {static_cast<std::int32_t>(among.nearest()), left > 1};
}

/// Ask whether to go on, if that much work was done since.
bool Dense::goes_on(std::int64_t work) { return !pace_.due(work) || (*goes_on_)(); }

/// Find a power of two of which all numbers are multiples; false if the integers are too wide.
bool Dense::find_grid(const std::vector<Tied> &tied, int &exponent) {
  if (grid_.empty()) {
    for (std::int64_t code = 0; code < packed_.distinct && goes_on(packed_.dim * kGridDim); ++code) {
      packed_.read_vector(code, vector_.data());
      grid_.include(vector_.data(), packed_.dim);
    }
  }
  Grid grid = grid_;
  for (const Tied &row : tied) grid.include(row.exact, packed_.dim);
  exponent = grid.exponent();
  return grid.bits() <= kWidest && std::abs(exponent) <= kLargestExponent;
}

/// Decide rows with many ties. Where squared distances are integers that differ by less than half of
/// the range, their remainders modulo 2^64 tell which is less. A row where that is not so is asked
/// again with a tighter limit, and in the end by integers of any length.
bool Dense::break_ties(std::vector<Tied> &tied) {
  int exponent = 0;
  const bool on_grid = find_grid(tied, exponent);
  if (!(*goes_on_)()) return false;
  const double unit = on_grid ? std::ldexp(1.0, -exponent) : 0.0;
  for (Tied &row : tied) {
    row.by_remainder = on_grid && row.rounds < 2;
    ++row.rounds;
    row.choice->code = -1;
    row.least = HUGE_VAL;
    for (std::int64_t d = 0; row.by_remainder && d < packed_.dim; ++d) {
      row.integers[static_cast<std::size_t>(d)] = static_cast<std::int64_t>(row.exact[d] * unit);
    }
  }
  for (std::int64_t first = 0; first < packed_.distinct; first += kDenseCodes) {
    const std::int64_t codes = std::min<std::int64_t>(kDenseCodes, packed_.distinct - first);
    load(first, codes);
    for (std::int64_t i = 0; on_grid && i < packed_.dim * kDenseCodes; ++i) {
      integers_.data()[i] = static_cast<std::int64_t>(transposed_.data()[i] * unit);
    }
    for (Tied &row : tied) {
      if (!compare_chunk(row, first, codes)) return false;
    }
  }
  for (Tied &row : tied) {
    const double apart =
        bounds::sqdist_upper(row.limit, dim_) - bounds::sqdist_lower(row.least, dim_);
    row.sure = !row.by_remainder || apart * unit * unit < kHalfRange;
    row.limit = std::min(row.limit, limit(row.least));
    row.choice->exact = true;
  }
  return true;
}

/// False if it shall stop.
bool Dense::compare_chunk(Tied &row, std::int64_t first, std::int64_t codes) {
  const double least =
      leave_out(row.besides, first, codes,
                packed_.isa->dense(row.exact, transposed_.data(), packed_.dim, sqdist_.data()));
  row.least = std::min(row.least, least);
  if (least > row.limit) return true;
  if (row.by_remainder) {
    const std::int64_t above = packed_.isa->wrapped(row.integers.data(), integers_.data(),
                                                    packed_.dim, sqdist_.data(), row.limit,
                                                    row.remainder, remainders_.data());
    if (row.choice->code >= 0 && (packed_.sorted ? above > 0 : above >= 0)) {
      return goes_on(packed_.dim * kDenseCodes / kPad);
    }
  }
  for (std::int64_t code = 0; code < codes; ++code) {
    if (sqdist_.data()[code] > row.limit) continue;
    if (row.by_remainder) {
      const std::uint64_t remainder = remainders_.data()[code];
      const auto above = static_cast<std::int64_t>(remainder - row.remainder);
      if (row.choice->code < 0 || above < 0 ||
          (above == 0 && packed_.index(first + code) < packed_.index(row.choice->code))) {
        row.remainder = remainder;
        row.choice->code = static_cast<std::int32_t>(first + code);
      }
    } else {
      packed_.read_vector(first + code, vector_.data());
      row.among.consider(vector_.data(), first + code, packed_.index(first + code));
      row.choice->code = static_cast<std::int32_t>(row.among.nearest());
      if (!goes_on(packed_.dim * Pace::kExactDim)) return false;
    }
  }
  return goes_on(packed_.dim * kDenseCodes / kPad);
}

}  // namespace certvq
