/// The body of the filter's scan: scores of a tile of rows and all codes of some panels.
///
/// In: `Ops` and the types of `vectors-inl.h`. Out: the best two groups of each row and lane. It is part of
/// `body-inl.h`, which includes it.

inline Ints maximum(Ints a, Ints b) { return a > b ? a : b; }
inline Ints minimum(Ints a, Ints b) { return a < b ? a : b; }

/// Keep the two best groups of each lane; `group` replaces the low bits of the score.
inline void keep(Ints &best, Ints &second, Ints score, Ints mask, Ints group) {
  score = (score & mask) | group;
  second = maximum(second, minimum(best, score));
  best = maximum(best, score);
}

/// kPairs is the number of pairs if that is known, else 0.
template <int kRows, bool kGrouped, int kPairs>
void scan_tile(const std::int32_t *integers, int shift, std::int32_t *state, const Panels &panels,
               std::int64_t first, std::int64_t last, bool anew) {
  const std::int64_t pairs = kPairs != 0 ? kPairs : panels.pairs;
  const Ints mask = Ops::broadcast(~((1 << panels.group_bits) - 1));
  const std::int16_t *codes = panels.integers + first * pairs * kPanelCodes * 2;
  const Ints nothing = Ops::broadcast(kNothing);
  Ints best[kRows];
  Ints second[kRows];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
    best[row] = anew ? nothing : load<Ints>(state + row * 2 * kLanes);
    second[row] = anew ? nothing : load<Ints>(state + (row * 2 + 1) * kLanes);
  }
  for (std::int64_t panel = first; panel < last; ++panel) {
    const std::int32_t *entries = integers;
    // Without this and `pin`, GCC 12 keeps all entries and products of a short loop in memory.
    __asm__("" : "+r"(entries));
    Ints scores[kRows][kBlocks];
#pragma GCC unroll 8
    for (int block = 0; block < kBlocks; ++block) {
      const Ints offset =
          Ops::shift_right(load<Ints>(panels.offsets + panel * kPanelCodes + block * kLanes), shift);
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) scores[row][block] = offset;
    }
    const auto multiply = [&](std::int64_t pair) __attribute__((always_inline)) {
      if constexpr (kRows < kBlocks) {  // registers hold the fewer of rows and codes
        Ints entry[kRows];
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) entry[row] = Ops::broadcast(entries[row * pairs + pair]);
#pragma GCC unroll 8
        for (int block = 0; block < kBlocks; ++block) {
          const Ints code = load<Ints>(codes + block * kLanes * 2);
#pragma GCC unroll 8
          for (int row = 0; row < kRows; ++row) {
            Ops::accumulate(scores[row][block], entry[row], code);
            if constexpr (kPairs != 0) Ops::pin(scores[row][block]);
          }
        }
      } else {
        Ints code[kBlocks];
#pragma GCC unroll 8
        for (int block = 0; block < kBlocks; ++block) {
          code[block] = load<Ints>(codes + block * kLanes * 2);
        }
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
          const Ints entry = Ops::broadcast(entries[row * pairs + pair]);
#pragma GCC unroll 8
          for (int block = 0; block < kBlocks; ++block) {
            Ops::accumulate(scores[row][block], entry, code[block]);
            if constexpr (kPairs != 0) Ops::pin(scores[row][block]);
          }
        }
      }
      codes += kPanelCodes * 2;
    };
    if constexpr (kPairs != 0) {
#pragma GCC unroll 4
      for (std::int64_t pair = 0; pair < kPairs; ++pair) multiply(pair);
    } else {
#pragma GCC unroll 1
      for (std::int64_t pair = 0; pair < pairs; ++pair) multiply(pair);
    }
    const Ints group = Ops::broadcast(static_cast<std::int32_t>(kGrouped ? panel : panel * kBlocks));
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      if (kGrouped) {
        const Ints greatest = maximum(maximum(scores[row][0], scores[row][1]),
                                      maximum(scores[row][2], scores[row][3]));
        keep(best[row], second[row], greatest, mask, group);
      } else {
#pragma GCC unroll 8
        for (int block = 0; block < kBlocks; ++block) {
          keep(best[row], second[row], scores[row][block], mask, group + block);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
    store(state + row * 2 * kLanes, best[row]);
    store(state + (row * 2 + 1) * kLanes, second[row]);
  }
}

/// Few pairs on few registers: a block at a time, so that entries stay in registers. Most rows need no
/// shift.
template <int kRows, int kPairs, bool kShifted>
void scan_few(const std::int32_t *integers, int shift, std::int32_t *state, const Panels &panels,
              std::int64_t first, std::int64_t last, bool anew) {
  const Ints mask = Ops::broadcast(~((1 << panels.group_bits) - 1));
  const std::int16_t *codes = panels.integers + first * kPairs * kPanelCodes * 2;
  const std::int32_t *offsets = panels.offsets + first * kPanelCodes;
  const Ints nothing = Ops::broadcast(kNothing);
  Ints best[kRows];
  Ints second[kRows];
  Ints entry[kRows][kPairs];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
    best[row] = anew ? nothing : load<Ints>(state + row * 2 * kLanes);
    second[row] = anew ? nothing : load<Ints>(state + (row * 2 + 1) * kLanes);
#pragma GCC unroll 4
    for (int pair = 0; pair < kPairs; ++pair) {
      entry[row][pair] = Ops::broadcast(integers[row * kPairs + pair]);
    }
  }
  Ints group = Ops::broadcast(static_cast<std::int32_t>(first));
  for (std::int64_t panel = first; panel < last; ++panel) {
    Ints greatest[kRows];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
      for (int pair = 0; pair < kPairs; ++pair) Ops::pin(entry[row][pair]);
    }
#pragma GCC unroll 4
    for (int block = 0; block < kBlocks; ++block) {
      Ints offset = load<Ints>(offsets + block * kLanes);
      if constexpr (kShifted) offset = Ops::shift_right(offset, shift);
      Ints score[kRows];
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) score[row] = offset;
#pragma GCC unroll 4
      for (int pair = 0; pair < kPairs; ++pair) {
        Ints code = load<Ints>(codes + (pair * kBlocks + block) * kLanes * 2);
        Ops::pin(code);
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
          Ops::accumulate(score[row], entry[row][pair], code);
          Ops::pin(score[row]);
        }
      }
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        greatest[row] = block == 0 ? score[row] : maximum(greatest[row], score[row]);
        Ops::pin(greatest[row]);
      }
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) keep(best[row], second[row], greatest[row], mask, group);
    group += 1;
    codes += kPairs * kPanelCodes * 2;
    offsets += kPanelCodes;
  }
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
    store(state + row * 2 * kLanes, best[row]);
    store(state + (row * 2 + 1) * kLanes, second[row]);
  }
}

template <int kRows, bool kGrouped, int kPairs>
void scan_rows(const Scan &scan, const Panels &panels, std::int64_t first, std::int64_t last) {
  auto tile = scan_tile<kRows, kGrouped, kPairs>;
  for (std::int64_t row = 0; row < scan.rows; row += kRows) {
    if constexpr (kPairs != 0 && kPairs <= 2 && kRows == 2) {
      tile = scan.shifts[row] == 0 ? scan_few<kRows, kPairs, false> : scan_few<kRows, kPairs, true>;
    }
    tile(scan.integers + row * panels.pairs, scan.shifts[row], scan.best + row * 2 * kLanes, panels,
         first, last, first == scan.begin);
  }
}

/// Few products leave the time to the bookkeeping: small tiles, and no loop over the pairs.
void scan(const Scan &scan, const Panels &panels, std::int64_t first, std::int64_t last) {
  if (!panels.grouped) {
    return scan_rows<Ops::kTile, false, 0>(scan, panels, first, last);
  }
  switch (panels.pairs) {
    case 1:
      return scan_rows<Ops::kSmallTile, true, 1>(scan, panels, first, last);
    case 2:
      return scan_rows<Ops::kSmallTile, true, 2>(scan, panels, first, last);
    case 3:
      return scan_rows<Ops::kSmallTile, true, 3>(scan, panels, first, last);
    case 4:
      return scan_rows<Ops::kSmallTile, true, 4>(scan, panels, first, last);
    default:
      return scan_rows<Ops::kTile, true, 0>(scan, panels, first, last);
  }
}
