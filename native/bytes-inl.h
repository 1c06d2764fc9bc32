/// The body of the first pass: rows and codes rounded to bytes, their scores, their best groups.
///
/// In: `Ops` with its products of bytes, and `keep`, `append` and `interleave` of `body-inl.h`, which
/// includes this. Out: the table `ByteIsa`, none for an instruction set without such products.
///
/// A code's bytes have no sign: kByteShift is added to them, and a row's `starts` take away what that
/// adds to its sums. Sums wrap on the way; the score itself fits (`Bytes`).

/// As wide as a register: GCC 12 keeps longer vectors that live through a loop in memory.
constexpr std::int64_t kWidth = sizeof(Register) / sizeof(double);
inline Register load_register(const double *data) { return load<Register>(data); }
inline Register load_register(const float *data) {
  typedef float Narrow __attribute__((vector_size(sizeof(Register) / 2)));
  return __builtin_convertvector(load<Narrow>(data), Register);
}

template <class Entry>
inline double widest_entry(const Entry *rows, const double *centre, std::int64_t count,
                           std::int64_t stride) {
  Register high{};
  Register low{};
  for (std::int64_t row = 0; row < count; ++row, rows += stride) {
    for (std::int64_t d = 0; d < stride; d += kWidth) {
      const Register z = load_register(rows + d) - load_register(centre + d);
      high = z > high ? z : high;
      low = z < low ? z : low;
    }
  }
  double result = 0.0;
  for (int lane = 0; lane < kWidth; ++lane) result = greater(greater(high[lane], -low[lane]), result);
  return result;
}

inline double widest(const void *rows, bool wide, const double *centre, std::int64_t count,
              std::int64_t stride) {
  if (wide) return widest_entry(static_cast<const double *>(rows), centre, count, stride);
  return widest_entry(static_cast<const float *>(rows), centre, count, stride);
}

struct RoundedBytes {
  double left;  // squared norms of what rounding left,
  double norm;  // of the integers,
  double part;  // and the greatest of those that one 16-bit sum covers
};

/// `flip` is xored to every byte. Null `starts` are not written.
template <class Products, class Entry>
__attribute__((always_inline)) inline RoundedBytes round_bytes(const Entry *row, const double *centre,
                                                               double scale, std::int64_t quads,
                                                               std::uint64_t flip, std::int32_t *out,
                                                               std::int32_t *starts) {
  constexpr std::int64_t kChunk = Ops::kByteChunk;
  RoundedBytes result{};
  Sum left;
  for (std::int64_t quad = 0; quad < quads;) {
    typename Products::Fours sum{};     // of the pairs of dims, which belong to the even and the odd
    typename Products::Fours square{};  // 16-bit sums in turn
    const std::int64_t end = kChunk != 0 && quad + kChunk < quads ? quad + kChunk : quads;
    for (; quad < end; quad += 2) {
      const Doubles z = (load_vector(row + 4 * quad) - load_vector(centre + 4 * quad)) * scale;
      const Ops::Shorts parts = Ops::round(z);
      left.add_square(z - Ops::numbers<Doubles>(parts));
      sum += Products::pair_products(parts, Ops::Shorts{} + 1);
      square += Products::pair_products(parts, parts);
      const std::uint64_t bytes = Products::narrow(parts) ^ flip;
      __builtin_memcpy(out + quad, &bytes, quad + 1 < quads ? 8 : 4);
    }
    const std::int32_t even = square[0] + square[2];
    const std::int32_t odd = square[1] + square[3];
    result.norm += even + odd;
    result.part = greater(result.part, even > odd ? even : odd);
    if (starts != nullptr) {
      const auto first = static_cast<std::uint32_t>(-kByteShift * (sum[0] + sum[2]));
      const auto second = static_cast<std::uint32_t>(-kByteShift * (sum[1] + sum[3]));
      *starts++ = static_cast<std::int32_t>(kChunk == 0 ? first + second
                                                        : second << 16 | (first & 0xFFFF));
    }
  }
  result.left = left.all();
  return result;
}

inline std::int64_t chunks_of(std::int64_t quads) {
  constexpr std::int64_t kChunk = Ops::kByteChunk;
  if constexpr (kChunk == 0) return 1;
  return (quads + kChunk - 1) / (kChunk == 0 ? 1 : kChunk);
}

template <class Products>
double round_byte_rows(const double *rows, const double *centre, double scale, std::int64_t count,
                       std::int64_t stride, std::int64_t quads, const ByteRows &out) {
  double part = 0.0;
  for (std::int64_t row = 0; row < count; ++row) {
    const RoundedBytes rounded = round_bytes<Products>(rows + row * stride, centre, scale, quads, 0,
                                             out.integers + row * quads,
                                             out.starts + row * chunks_of(quads));
    out.residuals[row] = rounded.left;
    out.norms[row] = rounded.norm;
    part = greater(part, rounded.part);
  }
  return part;
}

/// What the rows of a tile begin with, and how their scores are named.
template <class Products>
struct ByteTile {
  const std::int32_t *integers;
  const std::int32_t *starts;
  std::int64_t quads;
  std::int64_t chunks;
  float ratio;
  int bits;

  template <int kRows>
  __attribute__((always_inline)) void begin(Ints (&scores)[kRows][kBlocks], std::int64_t chunk,
                                            const std::int32_t *offsets) const {
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const Ints start = Products::broadcast(starts[row * chunks + chunk]);
#pragma GCC unroll 8
      for (int block = 0; block < kBlocks; ++block) scores[row][block] = start;
    }
    if constexpr (Products::kByteChunk == 0) {
#pragma GCC unroll 8
      for (int block = 0; block < kBlocks; ++block) {
        const Ints offset = Products::scaled(offsets + block * kLanes, ratio);
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) scores[row][block] = offset;
      }
    }
  }
  /// The score of a row, shifted and named.
  __attribute__((always_inline)) Ints named(int row, Ints score, Ints group) const {
    if constexpr (Products::kByteChunk == 0) score += Products::broadcast(starts[row * chunks]);
    return (score << bits) | group;
  }
};

/// The scores of some rows and a panel; moves on to the next panel's codes.
template <class Products, int kRows, int kQuads>
__attribute__((always_inline)) inline void byte_scores(const ByteTile<Products> &tile,
                                                       const std::int32_t *offsets,
                                                       const std::int32_t *&codes,
                                                       Ints (&scores)[kRows][kBlocks]) {
  const std::int64_t quads = kQuads != 0 ? kQuads : tile.quads;
  const std::int32_t *entries = tile.integers;
  __asm__("" : "+r"(entries));  // see scan_tile
  tile.begin(scores, 0, offsets);
  const auto multiply = [&](Ints (&sums)[kRows][kBlocks], std::int64_t quad)
                            __attribute__((always_inline)) {
    Ints entry[kRows];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) entry[row] = Products::broadcast(entries[row * quads + quad]);
#pragma GCC unroll 8
    for (int block = 0; block < kBlocks; ++block) {
      Ints code = load<Ints>(codes + block * kLanes);
      Products::pin(code);  // else GCC 12 reads it once for each row
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        Products::multiply_bytes(sums[row][block], entry[row], code);
        if constexpr (kQuads != 0) Products::pin(sums[row][block]);
      }
    }
    codes += kPanelCodes;
  };
  if constexpr (kQuads != 0) {
#pragma GCC unroll 4
    for (std::int64_t quad = 0; quad < kQuads; ++quad) multiply(scores, quad);
  } else {
    constexpr std::int64_t kChunk = Products::kByteChunk;
    const std::int64_t end = kChunk != 0 && kChunk < quads ? kChunk : quads;
#pragma GCC unroll 1
    for (std::int64_t quad = 0; quad < end; ++quad) multiply(scores, quad);
  }
  if constexpr (Products::kByteChunk != 0) {
#pragma GCC unroll 8
    for (int block = 0; block < kBlocks; ++block) {
      const Ints offset = Products::scaled(offsets + block * kLanes, tile.ratio);
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        scores[row][block] = Products::sum_halves(scores[row][block]) + offset;
      }
    }
    if constexpr (kQuads == 0) {
      for (std::int64_t chunk = 1; chunk < tile.chunks; ++chunk) {
        const std::int64_t begin = chunk * Products::kByteChunk;
        const std::int64_t end = begin + Products::kByteChunk < quads ? begin + Products::kByteChunk : quads;
        Ints more[kRows][kBlocks];
        tile.begin(more, chunk, offsets);
#pragma GCC unroll 1
        for (std::int64_t quad = begin; quad < end; ++quad) multiply(more, quad);
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 8
          for (int block = 0; block < kBlocks; ++block) {
            scores[row][block] += Products::sum_halves(more[row][block]);
          }
        }
      }
    }
  }
}

inline void keep_named(Ints &best, Ints &second, Ints score) {
  second = maximum(second, minimum(best, score));
  best = maximum(best, score);
}

template <class Products, int kRows, bool kGrouped, int kQuads>
void byte_tile(const ByteTile<Products> &tile, std::int32_t *state, const Panels &panels,
               std::int64_t first, std::int64_t last, bool anew) {
  const auto *codes = reinterpret_cast<const std::int32_t *>(panels.integers) +
                      first * tile.quads * kPanelCodes;
  const Ints nothing = Products::broadcast(kNothing);
  Ints best[kRows];
  Ints second[kRows];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
    best[row] = anew ? nothing : load<Ints>(state + row * 2 * kLanes);
    second[row] = anew ? nothing : load<Ints>(state + (row * 2 + 1) * kLanes);
  }
  for (std::int64_t panel = first; panel < last; ++panel) {
    Ints scores[kRows][kBlocks];
    byte_scores<Products, kRows, kQuads>(tile, panels.offsets + panel * kPanelCodes, codes, scores);
    const Ints group =
        Products::broadcast(static_cast<std::int32_t>(kGrouped ? panel : panel * kBlocks));
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      if (kGrouped) {
        const Ints greatest = maximum(maximum(scores[row][0], scores[row][1]),
                                      maximum(scores[row][2], scores[row][3]));
        keep_named(best[row], second[row], tile.named(row, greatest, group));
      } else {
#pragma GCC unroll 8
        for (int block = 0; block < kBlocks; ++block) {
          keep_named(best[row], second[row], tile.named(row, scores[row][block], group + block));
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

template <class Products>
ByteTile<Products> tile_of(const ByteScan &scan, std::int64_t row, const Panels &panels) {
  const std::int64_t chunks = chunks_of(panels.pairs);
  return {scan.integers + row * panels.pairs, scan.starts + row * chunks, panels.pairs, chunks,
          scan.ratios[row], panels.group_bits};
}

template <class Products, int kRows, bool kGrouped, int kQuads>
void scan_byte_rows(const ByteScan &scan, const Panels &panels, std::int64_t first, std::int64_t last) {
  for (std::int64_t row = 0; row < scan.rows; row += kRows) {
    byte_tile<Products, kRows, kGrouped, kQuads>(tile_of<Products>(scan, row, panels),
                                                 scan.best + row * 2 * kLanes, panels, first, last,
                                                 first == scan.begin);
  }
}

template <class Products>
void scan_bytes(const ByteScan &scan, const Panels &panels, std::int64_t first, std::int64_t last) {
  if (!panels.grouped) {
    return scan_byte_rows<Products, Products::kTile, false, 0>(scan, panels, first, last);
  }
  switch (panels.pairs) {
    case 2:
      return scan_byte_rows<Products, Products::kSmallTile, true, 2>(scan, panels, first, last);
    case 3:
      return scan_byte_rows<Products, Products::kSmallTile, true, 3>(scan, panels, first, last);
    case 4:
      return scan_byte_rows<Products, Products::kSmallTile, true, 4>(scan, panels, first, last);
    default:
      return scan_byte_rows<Products, Products::kTile, true, 0>(scan, panels, first, last);
  }
}

template <class Products>
bool collect_bytes(const ByteScan &scan, std::int64_t row, std::int32_t threshold, const Panels &panels,
                   std::int64_t first, std::int64_t last, std::int64_t codes, Pairs &pairs) {
  const ByteTile<Products> tile = tile_of<Products>(scan, row, panels);
  const auto *bytes = reinterpret_cast<const std::int32_t *>(panels.integers) +
                      first * tile.quads * kPanelCodes;
  for (std::int64_t panel = first; panel < last; ++panel) {
    Ints scores[1][kBlocks];
    byte_scores<Products, 1, 0>(tile, panels.offsets + panel * kPanelCodes, bytes, scores);
    if (pairs.count + kPanelCodes > pairs.capacity) return false;
    for (int block = 0; block < kBlocks; ++block) {
      const Ints named = tile.named(0, scores[0][block], Ints{});
      for (std::uint32_t left = Products::at_least(named, threshold); left; left &= left - 1) {
        append(pairs, static_cast<std::int32_t>(row),
               panel * kPanelCodes + __builtin_ctz(left) * kBlocks + block, codes);
      }
    }
  }
  return true;
}

template <class Products, class Entry>
inline void write_byte_vectors(const Entry *vectors, std::int64_t count, std::int64_t stride,
                               const double *centre, double scale, std::int64_t quads,
                               std::int32_t *rounded, std::int32_t *panel, std::int32_t *offsets,
                               double *residual, double *norm, double *part) {
  constexpr std::uint64_t kFlip = 0x8080808080808080u;
  for (int code = 0; code < kPanelCodes; ++code) {
    const RoundedBytes row = round_bytes<Products>(vectors + (code < count ? code : count - 1) * stride, centre,
                                         scale, quads, kFlip, rounded + code * quads, nullptr);
    *residual = greater(*residual, row.left);
    *norm = greater(*norm, row.norm);
    *part = greater(*part, row.part);
    const auto offset = static_cast<float>(-0.5 * row.norm);
    __builtin_memcpy(offsets + code % kBlocks * kLanes + code / kBlocks, &offset, sizeof offset);
  }
  interleave(rounded, quads, panel);
}

template <class Products>
void write_byte_panel(const void *vectors, bool wide, std::int64_t count, std::int64_t stride,
                      const double *centre, double scale, std::int64_t quads, std::int32_t *rounded,
                      std::int32_t *panel, std::int32_t *offsets, double *residual, double *norm,
                      double *part) {
  if (wide) {
    write_byte_vectors<Products>(static_cast<const double *>(vectors), count, stride, centre, scale, quads,
                       rounded, panel, offsets, residual, norm, part);
  } else {
    write_byte_vectors<Products>(static_cast<const float *>(vectors), count, stride, centre, scale, quads,
                       rounded, panel, offsets, residual, norm, part);
  }
}

template <class Products>
constexpr ByteIsa kByteTable = {Products::kByteLimit,     Products::kByteChunk,
                                Products::kByteSaved,     Products::kByteBookkeeping,
                                widest,                   round_byte_rows<Products>,
                                scan_bytes<Products>,     collect_bytes<Products>,
                                write_byte_panel<Products>};

template <class Products>
constexpr const ByteIsa *byte_table() {
  if constexpr (Products::kByteLimit == 0) {
    return nullptr;
  } else {
    return &kByteTable<Products>;
  }
}
