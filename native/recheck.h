/// A second look at rows in doubt, at few codes: the own one, and those that moved far.
///
/// In: rows whose lead is used up. Out: those that may have another code; the others have new bounds.
/// Theorem: skip_sound, in which a code that was measured anew did not move.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "lloyd.h"
#include "worker.h"

namespace certvq {

class Recheck {
 public:
  /// `places` are those of the user's codes in the packed codebook; `movers` may be null.
  Recheck(const Packed &packed, const Matrix &rows, const Known &known, const std::vector<std::int64_t> &places,
          const Movers *movers, Progress &progress, std::function<void()> poll);

  /// Whether it is worth it for such a codebook, unless vectors are equal. As in cluster/_drift.py.
  static bool pays(const Packed &packed);

  /// Bring the rows that may have another code to the front, and return how many they are.
  std::int64_t clear(std::int64_t *rows, std::int64_t count);

 private:
  static constexpr std::int64_t kRows = 96;  // at once

  std::int64_t clear_few(const std::int64_t *rows, std::int64_t count, std::int64_t *open);
  double lower_of_movers(std::int64_t each, std::int64_t code) const;

  const Packed &packed_;
  const Matrix &rows_;
  const Known &known_;
  const std::vector<std::int64_t> &places_;
  const Movers *movers_;
  Progress &progress_;
  std::function<void()> poll_;
  double dim_;
  Aligned<double> exact_;        // (kRows, stride), rows whose own code is to be measured
  Aligned<std::int32_t> own_;    // (kRows,), as all of these
  Aligned<std::int32_t> local_;  // 0, 1, 2, ...
  Aligned<double> sqdist_;       // to the own code
  std::vector<std::int64_t> numbers_;
  Matrix held_;                  // `exact_`
  std::vector<double> still_;    // (movers,), that nothing moved since they were compared
  std::vector<std::int64_t> codes_;
  std::vector<double> nearest_;
  std::vector<float> leads_, lowers_;
  Results results_{};
  std::unique_ptr<Worker> worker_;  // compares rows with movers
};

}  // namespace certvq
