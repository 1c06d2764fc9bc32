/// The part of the body that lists the codes near to a row, besides the one that it has.
///
/// In: what the scan remembers, and `Ops` and the squared distances of `body-inl.h`, which includes
/// this. Out: functions of the table `Isa`. Must not decide anything: it lists, measures and bounds.

/// Make room for the group of a row's code: the second group of its lane takes its place.
inline void take_out(const Memory &memory, std::int64_t row, std::int32_t code, const Panels &panels) {
  const std::int64_t panel = code / kPanelCodes;
  const std::int64_t lane = code % kPanelCodes / kBlocks;
  const auto group = static_cast<std::int32_t>(panels.grouped ? panel : panel * kBlocks + code % kBlocks);
  const std::int32_t names = (1 << panels.group_bits) - 1;
  std::int32_t *state = memory.best + row * 2 * kLanes + lane;
  std::int64_t parts = memory.parts;
  if (memory.part_panels != 0) {
    const auto part_panels = static_cast<std::int32_t>(memory.part_panels);
    state += static_cast<std::int32_t>(panel) / part_panels * memory.stride;
    parts = 1;
  }
  for (std::int64_t part = 0; part < parts; ++part, state += memory.stride) {
    state[0] = (state[0] & names) == group ? state[kLanes] : state[0];
  }
}

void rivals(const Memory &memory, std::int64_t first, std::int64_t count, const Panels &panels,
            const std::int32_t *own, std::int32_t *out) {
  for (std::int64_t row = first; row < first + count; ++row) {
    if (own[row] >= 0) take_out(memory, row, own[row], panels);
  }
  for (std::int64_t row = first; row < first + count; ++row) {
    const std::int32_t *state = memory.best + row * 2 * kLanes;
    Ints best = load<Ints>(state);
    for (std::int64_t part = 1; part < memory.parts; ++part) {
      best = maximum(best, load<Ints>(state + part * memory.stride));
    }
    const std::int32_t score = Ops::greatest(best);
    out[row] = -1;
    if (score == kNothing) continue;
    const int lane = __builtin_ctz(Ops::at_least(best, score));
    out[row] = static_cast<std::int32_t>(first_code(score, lane, panels));
    take_out(memory, row, out[row], panels);
  }
}

/// List all groups of a lane and part; false if there is no room.
inline bool list_lane(std::int64_t first, std::int64_t last, int lane, std::int32_t row, bool grouped,
                      std::int64_t &spare, Pairs &groups) {
  const int some = grouped ? 1 : kBlocks;
  if ((last - first) * some - 1 > spare) return false;
  spare -= (last - first) * some - 1;
  for (std::int64_t panel = first; panel < last; ++panel) {
    for (int block = 0; block < some; ++block) {
      groups.rows[groups.count] = row;
      groups.codes[groups.count++] =
          static_cast<std::int32_t>(panel * kPanelCodes + lane * kBlocks + block);
    }
  }
  return true;
}

void passing(const Memory &memory, std::int64_t rows, const Panels &panels,
             const std::int32_t *thresholds, Pairs &groups, std::uint32_t *crowded) {
  constexpr std::int64_t kWord = 64 / kLanes;
  constexpr std::int64_t kFewPanels = 8;  // of a part: its groups in a lane are listed one and all
  const bool few = memory.part_panels != 0 && memory.part_panels <= kFewPanels;
  std::int64_t spare = groups.capacity - rows * memory.parts * kLanes;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int32_t *state = memory.best + row * 2 * kLanes;
    const std::int32_t threshold = thresholds[row];
    crowded[row] = 0;
    Ints best = load<Ints>(state);
    for (std::int64_t part = 1; part < memory.parts; ++part) {
      best = maximum(best, load<Ints>(state + part * memory.stride));
    }
    if (Ops::at_least(best, threshold) == 0) continue;
    // Parts side by side in one word: a branch for each could not be predicted.
    for (std::int64_t begin = 0; begin < memory.parts; begin += kWord, state += kWord * memory.stride) {
      const std::int64_t parts = memory.parts - begin < kWord ? memory.parts - begin : kWord;
      std::uint64_t left = 0;
      for (std::int64_t part = 0; part < parts; ++part) {
        const std::int32_t *own = state + part * memory.stride;
        const std::uint32_t full = Ops::at_least(load<Ints>(own + kLanes), threshold);
        std::uint64_t lanes = Ops::at_least(load<Ints>(own), threshold);
        if (full != 0) {
          const std::int64_t first = (begin + part) * memory.part_panels;
          const std::int64_t end = first + memory.part_panels;
          const std::int64_t last = end < panels.count ? end : panels.count;
          bool listed = few;
          const std::int64_t before = groups.count;
          for (std::uint32_t more = full; listed && more != 0; more &= more - 1) {
            listed = list_lane(first, last, __builtin_ctz(more), static_cast<std::int32_t>(row),
                               panels.grouped, spare, groups);
          }
          lanes = listed ? lanes & ~std::uint64_t{full} : 0;
          if (!listed) {
            groups.count = before;
            crowded[row] |= 1u << (begin + part);
          }
        }
        left |= lanes << (part * kLanes);
      }
      for (; left != 0; left &= left - 1) {
        const int place = __builtin_ctzll(left);
        const int lane = place % kLanes;
        const std::int32_t score = state[place / kLanes * memory.stride + lane];
        groups.rows[groups.count] = static_cast<std::int32_t>(row);
        groups.codes[groups.count++] = static_cast<std::int32_t>(first_code(score, lane, panels));
      }
    }
  }
}

template <class Entry>
inline void each_group(const Exact &exact, const Entry *vectors, bool grouped, const Pairs &groups,
                       double *out) {
  const std::int64_t width = grouped ? kBlocks : 1;
  for (std::int64_t pair = 0; pair < groups.count; ++pair, out += width) {
    const std::int64_t code = groups.codes[pair];
    if (code < 0 || code >= exact.codes) {
      for (std::int64_t member = 0; member < width; ++member) out[member] = __builtin_huge_val();
      continue;
    }
    const double *x = exact.rows + groups.rows[pair] * exact.stride;
    if (!grouped) {
      *out = one_sqdist(x, vectors + code * exact.stride, exact.stride);
      continue;
    }
    store(out, group_sqdist(x, vectors + code * exact.stride, exact.stride, exact.narrow));
    for (std::int64_t padding = exact.codes; padding < code + kBlocks; ++padding) {
      out[padding - code] = __builtin_huge_val();
    }
  }
}

void group_sqdists(const Exact &exact, bool grouped, const Pairs &groups, double *out) {
  if (exact.wide) {
    each_group(exact, static_cast<const double *>(exact.vectors), grouped, groups, out);
  } else {
    each_group(exact, static_cast<const float *>(exact.vectors), grouped, groups, out);
  }
}

template <class Entry>
inline void each_apart(const Entry *vectors, std::int64_t stride, const Pairs &pairs, double *out) {
  for (std::int64_t pair = 0; pair < pairs.count; ++pair) {
    const Entry *a = vectors + pairs.rows[pair] * stride;
    const Entry *b = vectors + pairs.codes[pair] * stride;
    Sum total;
    for (std::int64_t d = 0; d < stride; d += kPad) {
      total.add_square(load_vector(a + d) - load_vector(b + d));
    }
    out[pair] = total.all();
  }
}

void apart(const void *vectors, bool wide, std::int64_t stride, const Pairs &pairs, double *out) {
  if (wide) {
    each_apart(static_cast<const double *>(vectors), stride, pairs, out);
  } else {
    each_apart(static_cast<const float *>(vectors), stride, pairs, out);
  }
}

/// Two groups of one code each.
inline void choose_of_two(std::int64_t row, const std::int32_t *rival, double *sqdist,
                          const Guess &guess) {
  double *pair = sqdist + row * 2;
  guess.own[row] = pair[0];
  guess.least[row] = pair[1];
  guess.next[row] = pair[0] = pair[1] = __builtin_huge_val();
  guess.code[row] = rival[row];
}

/// Two groups of four, without branches: which of them is the nearest cannot be predicted.
inline void choose_of_eight(std::int64_t row, const std::int32_t *own, const std::int32_t *rival,
                            double *sqdist, const Guess &guess) {
  typedef std::int64_t HalfLongs __attribute__((vector_size(32)));
  static_assert(2 * kBlocks == kPad, "two groups are two half vectors");
  const HalfLongs places = {0, 1, 2, 3};
  double *eight = sqdist + row * kPad;
  const std::int32_t code = own[row] >= 0 ? own[row] : 0;
  guess.own[row] = eight[code % kBlocks];
  const HalfDoubles all = load<HalfDoubles>(eight);
  const HalfDoubles a = places == code % kBlocks ? HalfDoubles{} + __builtin_huge_val() : all;
  const HalfDoubles b = load<HalfDoubles>(eight + kBlocks);
  const HalfDoubles low = a < b ? a : b;
  const HalfDoubles high = a < b ? b : a;
  const double least = lesser(lesser(low[0], low[1]), lesser(low[2], low[3]));
  const double middle = greater(lesser(low[0], low[1]), lesser(low[2], low[3]));
  const double rest = lesser(greater(low[0], low[1]), greater(low[2], low[3]));
  const double above = lesser(lesser(high[0], high[1]), lesser(high[2], high[3]));
  const HalfLongs x = a == least ? places : places + kPad;
  const HalfLongs y = b == least ? places + kBlocks : places + kPad;
  const HalfLongs first = x < y ? x : y;
  const std::int64_t p = first[0] < first[1] ? first[0] : first[1];
  const std::int64_t q = first[2] < first[3] ? first[2] : first[3];
  const std::int64_t place = p < q ? p : q;
  eight[code % kBlocks] = eight[place] = __builtin_huge_val();
  const auto at = static_cast<std::int32_t>(place);
  guess.code[row] = at < kBlocks ? code / kBlocks * kBlocks + at : rival[row] + at - kBlocks;
  guess.least[row] = least;
  guess.next[row] = lesser(lesser(middle, rest), above);
}

void choose(std::int64_t first, std::int64_t count, bool grouped, const std::int32_t *own,
            const std::int32_t *rival, double *sqdist, const Guess &guess) {
  if (grouped) {
    for (std::int64_t row = first; row < first + count; ++row) {
      choose_of_eight(row, own, rival, sqdist, guess);
    }
  } else {
    for (std::int64_t row = first; row < first + count; ++row) choose_of_two(row, rival, sqdist, guess);
  }
}

void keep_within(const Pairs &groups, std::int64_t width, const double *sqdist, const double *limit,
                 Pairs &kept, double *out) {
  std::int64_t count = kept.count;
  for (std::int64_t pair = 0; pair < groups.count; ++pair) {
    const std::int32_t row = groups.rows[pair];
    const std::int32_t code = groups.codes[pair];
    const double most = limit[row];
    for (std::int32_t member = 0; member < width; ++member) {  // what is kept cannot be predicted
      kept.rows[count] = row;
      kept.codes[count] = code + member;
      out[count] = *sqdist;
      count += static_cast<std::int64_t>(*sqdist++ <= most);
    }
  }
  kept.count = count;
}

/// The entries of `own` moved up by one, and the last one of `before`.
template <class Part>
__attribute__((always_inline)) inline Part shifted(Part before, Part own) {
  if constexpr (sizeof(Part) == sizeof(Doubles)) {
    return __builtin_shufflevector(before, own, 7, 8, 9, 10, 11, 12, 13, 14);
  } else if constexpr (sizeof(Part) == sizeof(HalfDoubles)) {
    return __builtin_shufflevector(before, own, 3, 4, 5, 6);
  } else {
    return __builtin_shufflevector(before, own, 1, 2);
  }
}

template <int kKept>
inline void insert_keys(const double *sqdist, std::int64_t count, double *out) {
  typedef std::uint64_t Words __attribute__((vector_size(64)));
  constexpr int kParts = kKept * sizeof(double) / sizeof(Register);
  const Doubles greatest = Doubles{} + __DBL_MAX__;  // with a place it is no NaN
  Words places = {0, 1, 2, 3, 4, 5, 6, 7};
  Register kept[kParts];
#pragma GCC unroll 8
  for (int part = 0; part < kParts; ++part) kept[part] = Register{} + __builtin_huge_val();
  for (std::int64_t first = 0; first < count; first += kPad, places += kPad) {
    const Doubles v = load_vector(sqdist + first);
    const Words bits = (Words)(v < greatest ? v : greatest);
    double keys[kPad];
    store(keys, (bits & ~static_cast<std::uint64_t>(kMostKeys - 1)) | places);
    const std::int64_t some = count - first < kPad ? count - first : kPad;
    for (std::int64_t key = 0; key < some; ++key) {
      const Register d = Register{} + keys[key];
#pragma GCC unroll 8
      for (int part = kParts - 1; part >= 0; --part) {
        const Register moved = shifted(part > 0 ? kept[part - 1] : Register{}, kept[part]);
        const Register above = moved > d ? moved : d;
        kept[part] = kept[part] < above ? kept[part] : above;
      }
    }
  }
#pragma GCC unroll 8
  for (int part = 0; part < kParts; ++part) {
    store(out + part * (kKept / kParts), kept[part]);
  }
}

void sort_keys(const double *sqdist, std::int64_t count, int wanted, double *out) {
  constexpr int kRegister = sizeof(Register) / sizeof(double);
  constexpr int kFew = kRegister > kPad / 2 ? kRegister : kPad / 2;
  if (wanted <= kFew) return insert_keys<kFew>(sqdist, count, out);
  if (wanted <= kPad) return insert_keys<kPad>(sqdist, count, out);
  insert_keys<2 * kPad>(sqdist, count, out);
}

void borders(std::int64_t count, const double *farther, const double *nearer, const double *between,
             double dim, double *out) {
  for (std::int64_t pair = 0; pair < count; ++pair) {
    out[pair] = bounds::border_distance_of_sqdist(farther[pair], nearer[pair], between[pair], dim);
  }
}

void reaches(std::int64_t count, const double *nearer, const double *radius, double dim,
             double *reach, double *limit) {
  for (std::int64_t row = 0; row < count; ++row) {
    const double distance = bounds::border_reach(nearer[row], radius[row], dim);
    reach[row] = distance;
    limit[row] = bounds::sqdist_limit(distance, dim);
  }
}

void score_limits(const Quantized &quantized, std::int64_t rows, double names, const double *reach,
                  std::int32_t *out) {
  for (std::int64_t tile = 0; tile < rows; tile += kTileRows) {
    const double scale = quantized.scales[tile / kTileRows];
    const double inverse = 1.0 / scale;  // a power of two
    const double unit = quantized.unit * inverse;
    const double code_residual = quantized.code_residual * inverse;
    for (std::int64_t row = tile; row < tile + kTileRows; ++row) {
      const double residual = bounds::fixed_point_residual(quantized.residuals[row], quantized.dim);
      const double moved = residual + code_residual;
      const double limit = bounds::fixed_point_score_of_distance(
          quantized.norms[row], reach[row] * unit, moved * quantized.widen, scale, names);
      const double least = static_cast<double>(kNothing);
      const double most = static_cast<double>(INT32_MAX);
      const double above = limit > least ? limit : least;  // what is no number lets all pass
      out[row] = static_cast<std::int32_t>(above < most ? above : most);
    }
  }
}
