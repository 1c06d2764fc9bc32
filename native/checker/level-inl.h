// Body of a level: included inside an unnamed namespace, after `Ops`, and compiled once for each
// instruction set. Must not use templates or inline functions of the standard library: compiled
// here, they could replace those of all other files.

using Floats = Ops::Floats;
typedef double Doubles __attribute__((vector_size(64)));

constexpr int kWidth = Ops::kVectors * (sizeof(Floats) / sizeof(float));
static_assert(kPanel % kWidth == 0, "tiles must fill a panel");

inline Doubles load(const double *from) { return *reinterpret_cast<const Doubles *>(from); }

inline double total(Doubles v) {
  double sum = 0.0;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

void weigh(Block &block, const Matrix &latents, std::int64_t first, const std::int64_t *codes) {
  const Book &book = block.book;
  const std::int64_t dim = book.dim, padded = book.padded;
  const double *centre = book.centre.get();
  double *entry = block.entry.get();
  const Doubles scale = Doubles{} + book.scale;
  for (int row = 0; row < block.count; ++row) {
    read_row(latents, first + row, entry);
    const double *code = book.entries.get() + codes[row] * padded;
    float *out = block.rows.get() + row / Ops::kTile * dim * Ops::kTile + row % Ops::kTile;
    Doubles squares{}, products{}, sqdist{};
    for (std::int64_t d = 0; d < padded; d += kLanes) {
      const Doubles x = load(entry + d), m = load(centre + d), c = load(code + d);
      const Doubles a = (x - m) * scale, b = (c - m) * scale, difference = x - c;
      squares += a * a;
      products += a * b;
      sqdist += difference * difference;
      *reinterpret_cast<Doubles *>(entry + d) = a;
    }
    for (std::int64_t d = 0; d < dim; ++d) out[d * Ops::kTile] = static_cast<float>(entry[d]);
    block.squares[row] = total(squares);
    block.products[row] = total(products);
    block.sqdist[row] = total(sqdist);
  }
}

/// Look again at the scores of a row that reaches its limit: mostly it is the given code that does.
inline void again(Block &block, int row, std::int64_t first, float *scores) {
  const int known = row < block.count ? row : 0;
  const std::int64_t own = block.codes[known] - first;
  if (own >= 0 && own < kWidth) scores[own] = kExcluded;
  const std::int64_t other = block.besides == nullptr ? -1 : block.besides[known] - first;
  if (other >= 0 && other < kWidth) scores[other] = kExcluded;
  Floats greatest = reinterpret_cast<const Floats *>(scores)[0];
#pragma GCC unroll 8
  for (int v = 1; v < Ops::kVectors; ++v) {
    greatest = Ops::greater(greatest, reinterpret_cast<const Floats *>(scores)[v]);
  }
  if (Ops::reaches(greatest, block.limit[row])) note(block, row, first, scores, kWidth);
}

/// Scores -|b|^2/2 + a_1 b_1 + ... + a_D b_D, in float32, product and sum rounded once or twice.
void sweep(Block &block, std::int64_t panel) {
  constexpr int kTile = Ops::kTile, kVectors = Ops::kVectors;
  const std::int64_t dim = block.book.dim;
  const float *rows = block.rows.get();
  const float *limits = block.limit.get();
  for (int row = 0; row < block.count; row += kTile, rows += dim * kTile) {
    for (int first = 0; first < kPanel; first += kWidth) {
      const float *start = block.book.starts.get() + panel * kPanel + first;
      const float *code = block.book.panels.get() + panel * kPanel * dim + first;
      Floats scores[kTile][kVectors];
#pragma GCC unroll 8
      for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) {
          scores[r][v] = reinterpret_cast<const Floats *>(start)[v];
        }
      }
      const float *a = rows;
      for (std::int64_t d = 0; d < dim; ++d, code += kPanel, a += kTile) {
        Floats b[kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) b[v] = reinterpret_cast<const Floats *>(code)[v];
#pragma GCC unroll 8
        for (int r = 0; r < kTile; ++r) {
          const Floats entry = Ops::fill(a[r]);
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) scores[r][v] = Ops::add_product(scores[r][v], entry, b[v]);
        }
      }
      unsigned reached = 0;
#pragma GCC unroll 8
      for (int r = 0; r < kTile; ++r) {
        Floats greatest = scores[r][0];
#pragma GCC unroll 8
        for (int v = 1; v < kVectors; ++v) greatest = Ops::greater(greatest, scores[r][v]);
        reached |= static_cast<unsigned>(Ops::reaches(greatest, limits[row + r])) << r;
      }
      if (__builtin_expect(reached != 0, 0)) {
        alignas(64) float kept[kTile][kWidth];
#pragma GCC unroll 8
        for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) {
            reinterpret_cast<Floats *>(kept[r])[v] = scores[r][v];
          }
        }
        for (; reached != 0; reached &= reached - 1) {
          const int r = __builtin_ctz(reached);
          again(block, row + r, panel * kPanel + first, kept[r]);
        }
      }
    }
  }
}
