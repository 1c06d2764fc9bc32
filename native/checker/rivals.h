/// The filter of the independent checker: which codes float32 cannot prove to be worse.
///
/// In: latents, a codebook and codes from anywhere. Out: for each row the rivals of its code that
/// `certvq.check` has to decide by finer arithmetic, and the squared distance to the code itself.
/// Shares nothing with the kernels of `native/`, which it checks.

#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace certvq_checker {

enum class Number { kFloat64, kFloat32, kFloat16, kBfloat16 };

/// A matrix somewhere in memory; steps are counted in entries.
struct Matrix {
  const void *data;
  Number number;
  std::int64_t rows, columns;
  std::int64_t row_step, column_step;
};

/// What `find_rivals` returns; `row` and `rival` are pairs in order of rows.
struct Found {
  std::vector<std::int64_t> row, rival;
  std::vector<std::int64_t> given_up;  ///< rows that were not decided: all their codes are rivals
  std::unique_ptr<double[]> sqdist;    ///< (N,) squared distance to the given code, in float64
};

/// Memory for vectors of any instruction set.
template <class Entry>
class Aligned {
 public:
  explicit Aligned(std::int64_t size)
      : data_(static_cast<Entry *>(::operator new(sizeof(Entry) * static_cast<std::size_t>(size),
                                                  std::align_val_t{64}))) {
    for (std::int64_t i = 0; i < size; ++i) data_[i] = Entry{};
  }
  ~Aligned() { ::operator delete(data_, std::align_val_t{64}); }
  Aligned(const Aligned &) = delete;
  Aligned &operator=(const Aligned &) = delete;
  // Inlined always: compiled in the file of a level, they could replace those of all other files.
  [[gnu::always_inline]] Entry *get() { return data_; }
  [[gnu::always_inline]] const Entry *get() const { return data_; }
  [[gnu::always_inline]] Entry &operator[](std::int64_t i) { return data_[i]; }
  [[gnu::always_inline]] const Entry &operator[](std::int64_t i) const { return data_[i]; }

 private:
  Entry *data_;
};

constexpr int kPanel = 64;  ///< codes that are multiplied together; stay in the first cache
constexpr float kExcluded = -1e38f;  ///< lower than any limit
constexpr int kLanes = 8;   ///< rows of doubles are padded with zeros to a multiple of this

struct Block;

/// One instruction set. No file but the one of the level may define what these point to.
struct Level {
  const char *name;
  int tile;  ///< rows that are multiplied together
  bool (*supported)();
  /// Read rows and weigh them against their codes: fills `rows`, `squares`, `products`, `sqdist`.
  void (*weigh)(Block &block, const Matrix &latents, std::int64_t first, const std::int64_t *codes);
  /// Score the block against a panel; call `note` for each row and tile that reaches its limit.
  void (*sweep)(Block &block, std::int64_t panel);
};

/// Return the level of this name, "" for the best one.
/// Throws std::invalid_argument for a name that is unknown or not supported here.
const Level &choose_level(const char *name);

extern const Level *const kLevels[];
extern const int kLevelCount;

/// A codebook, translated and scaled: B_k = scale (c_k - centre), so that the largest coordinate of
/// all is in [1/2, 1); `scale` is a power of two.
struct Book {
  explicit Book(const Matrix &codebook);

  std::int64_t size, dim, padded;
  bool usable = true;        ///< numbers are finite and not extreme
  Aligned<double> entries;   ///< (K, padded): c_k, exact
  Aligned<double> centre;    ///< (padded,)
  double scale = 1.0;
  Aligned<double> half;      ///< (K,): |B_k|^2 / 2
  double reach = 0.0;        ///< at least every |B_k|
  Aligned<float> panels;     ///< (panel, D, 64): B_k, rounded
  Aligned<float> starts;     ///< (panel, 64): -|B_k|^2 / 2, rounded; kExcluded where there is no
                             ///< code, or one that equals an earlier one
};

struct Rival {
  std::int64_t code;
  float score;
  int row;
};

/// Rows that pass over the panels together, and what was found about them.
struct Block {
  Block(const Book &book, const Level &level, double widen, int rows);
  void reset(const std::int64_t *codes, const std::int64_t *besides, int count);

  const Book &book;
  const Level &level;
  double widen;
  int capacity, count = 0;
  const std::int64_t *codes = nullptr;
  const std::int64_t *besides = nullptr;  ///< codes that are no rivals; none if null
  Aligned<double> entry;     ///< (padded,): one row
  Aligned<float> rows;       ///< (tile, D, rows of a tile): A = scale (x - centre), rounded
  Aligned<double> squares;   ///< |A|^2
  Aligned<double> products;  ///< A . B_i for the given code i
  Aligned<double> sqdist;
  Aligned<double> radius;
  Aligned<float> limit;      ///< a code with a lower score is excluded; infinite where given up
  std::vector<int> noted;    ///< rivals of each row so far
  std::vector<char> lost;    ///< rows given up
  std::vector<Rival> rivals;
};

/// Take down the rivals among `count` codes from `first` on, and raise the limit of the row. The
/// score of the given code must be `kExcluded`, and that of the one besides.
void note(Block &block, int row, std::int64_t first, const float *scores, int count);

/// Find the rivals of each code, among all codes or those besides one a row.
///
/// Precondition: `codes` (N,) lie in [0, K); latents and codebook have the same number of columns.
/// `besides` is null, or one code a row, unlike its code. Of equal code vectors all but the first are
/// left out, also where the first is that code.
/// `widen` multiplies the radius: 1, but for tests of the tests. `interrupted` is called some times
/// a second in the calling thread; when it returns true, the result is of no use.
/// Returns false where the codebook is not finite or extreme: nothing was decided then.
bool find_rivals(const Matrix &latents, const Matrix &codebook, const std::int64_t *codes,
                 const std::int64_t *besides, int threads, const Level &level, double widen,
                 bool (*interrupted)(), Found &found);

/// Read one row; `out` gets `columns` doubles, exact, not finite where the entry is not.
void read_row(const Matrix &matrix, std::int64_t row, double *out);

}  // namespace certvq_checker
