#include "recheck.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "bounds.h"
#include "direct.h"
#include "lead.h"

namespace certvq {

Recheck::Recheck(const Packed &packed, const Matrix &rows, const Known &known,
                 const std::vector<std::int64_t> &places, const Movers *movers, Progress &progress,
                 std::function<void()> poll)
    : packed_(packed),
      rows_(rows),
      known_(known),
      places_(places),
      movers_(movers),
      progress_(progress),
      poll_(std::move(poll)),
      dim_(static_cast<double>(packed.dim)),
      exact_(kRows * packed.stride),
      own_(kRows),
      local_(kRows),
      sqdist_(kRows),
      numbers_(kRows),
      held_{exact_.data(), Number::kFloat64, kRows, packed.dim, packed.stride, 1} {
  std::iota(local_.data(), local_.data() + kRows, 0);
  if (movers == nullptr) return;
  still_.assign(static_cast<std::size_t>(movers->packed->given), 0.0);
  codes_.resize(kRows);
  nearest_.resize(kRows);
  leads_.resize(kRows);
  lowers_.resize(kRows);
  results_ = {codes_.data(), nullptr,       nearest_.data(), still_.data(),
              still_.data(), leads_.data(), lowers_.data()};
  worker_ = std::make_unique<Worker>(*movers->packed, held_, results_, progress, poll_);
}

bool Recheck::pays(const Packed &packed) {
  return packed.given * packed.dim > kDirectEntries;
}

std::int64_t Recheck::clear(std::int64_t *rows, std::int64_t count) {
  std::int64_t left = 0;
  for (std::int64_t first = 0; first < count; first += kRows) {
    left += clear_few(rows + first, std::min(kRows, count - first), rows + left);
    if (progress_.stopped()) return 0;
  }
  return left;
}

/// `open` may be `rows`: it is written after they were read.
std::int64_t Recheck::clear_few(const std::int64_t *rows, std::int64_t count, std::int64_t *open) {
  std::int64_t left = 0;
  std::int64_t held = 0;
  for (std::int64_t each = 0; each < count; ++each) {
    const std::int64_t row = rows[each];
    if (known_.codes[row] < 0 || known_.lowers[row] == -HUGE_VALF) {
      open[left++] = row;
      continue;
    }
    packed_.isa->read(rows_, row, 1, packed_.stride, exact_.data() + held * packed_.stride);
    const auto code = static_cast<std::size_t>(known_.codes[row]);
    own_.data()[held] = static_cast<std::int32_t>(places_[code]);
    numbers_[static_cast<std::size_t>(held++)] = row;
  }
  poll_();
  packed_.isa->sqdist(exact_.data(), packed_.vectors(), packed_.wide, packed_.stride,
                      {local_.data(), own_.data(), held, held}, sqdist_.data());
  std::int64_t asked = 0;
  for (std::int64_t each = 0; each < held; ++each) {
    const std::int64_t row = numbers_[static_cast<std::size_t>(each)];
    const std::int64_t code = known_.codes[row];
    const double upper = bounds::norm_upper(sqdist_.data()[each], dim_);
    const auto end = static_cast<double>(known_.lowers[row]);
    const double lower = end - known_.others[code];
    if (lead_of(lower, upper) > 0.0) {
      known_.leads[row] = end_of(lead_of(lower, upper), known_.drift[code]);
    } else if (movers_ != nullptr && lead_of(end - movers_->rest[code], upper) > 0.0) {
      numbers_[static_cast<std::size_t>(asked)] = row;
      sqdist_.data()[asked] = sqdist_.data()[each];
      std::copy_n(exact_.data() + each * packed_.stride, packed_.stride,
                  exact_.data() + asked++ * packed_.stride);
    } else {
      open[left++] = row;
    }
  }
  if (asked == 0) return left;
  worker_->decide(0, asked, kRows);
  worker_->finish();
  if (progress_.stopped()) return 0;
  for (std::int64_t each = 0; each < asked; ++each) {
    const std::int64_t row = numbers_[static_cast<std::size_t>(each)];
    const std::int64_t code = known_.codes[row];
    const double upper = bounds::norm_upper(sqdist_.data()[each], dim_);
    const double lower = std::min(static_cast<double>(known_.lowers[row]) - movers_->rest[code],
                                  lower_of_movers(each, code));
    const double lead = lead_of(lower, upper);
    if (lead > 0.0) {
      known_.leads[row] = end_of(lead, known_.drift[code]);
      known_.lowers[row] = end_of(lower, known_.others[code]);
    } else {
      open[left++] = row;
    }
  }
  return left;
}

/// At least the distance to every mover besides the own code.
double Recheck::lower_of_movers(std::int64_t each, std::int64_t code) const {
  const auto place = static_cast<std::size_t>(each);
  const bool own = movers_->places[codes_[place]] == code;
  return own ? static_cast<double>(lowers_[place]) : distance_below(nearest_[place], dim_);
}

}  // namespace certvq
