/// What each instruction set provides, as a table of functions with one meaning.
///
/// In: nothing. Out: the interface between the driver, which knows no instruction, and the files
/// `isa_*.cpp`, which instantiate one body (`body-inl.h`) on raw memory that the driver owns. All of
/// them compute the same scores and squared distances, to the bit.

#pragma once

#include <cstdint>

#include "bytes.h"
#include "rows.h"

namespace certvq {

constexpr int kBlocks = 4;        // vectors of codes side by side; a panel has kBlocks * lanes codes
constexpr int kTileRows = 12;    // a multiple of the tile of every instruction set
constexpr int kDenseCodes = 64;  // code vectors that are compared densely at once
constexpr int kNothing = INT32_MIN;  // below every score
constexpr int kSlots = 32;           // scores of which `leading` takes the best
constexpr std::int32_t kPaddingMark = 1 << 28;  // by which the offset of a copy in the padding is lower

constexpr std::int64_t kMostKeys = 2048;  // see sort_keys

/// Code c of a panel is entry `c / kBlocks` of vector `c % kBlocks`: a group of four neighbours lies
/// in one lane.
struct Panels {
  const std::int16_t *integers;  // (panels, pairs, kBlocks, lanes, 2)
  const std::int32_t *offsets;   // (panels, kBlocks, lanes)
  std::int64_t count;
  std::int64_t pairs;
  int group_bits;  // low bits of a score that are replaced by the number of the group
  bool grouped;    // a group is the four codes of a lane, else a single code
};

/// Scores of a block of rows: for each row and lane the best and the second best group.
struct Scan {
  const std::int32_t *integers;  // (rows, pairs): two 16-bit entries each
  const std::uint8_t *shifts;    // (rows): offsets are halved so often; the same in each kTileRows
  std::int64_t rows;             // of the whole tiles that hold them all are compared
  std::int32_t *best;            // (rows, 2, lanes), with room for a multiple of kTileRows
  std::int64_t begin = 0;        // the panel that is compared first
};

/// What parts of a codebook remember of a block of rows, each its own best groups.
struct Memory {
  std::int32_t *best;   // (parts, block, 2, lanes)
  std::int64_t parts;   // at most 32
  std::int64_t stride;  // entries of a part
  std::int64_t part_panels;  // if parts are panels in a row, else 0
};

/// Of each row: squared distances to its own code, to the nearest other one of two groups and to the
/// next, and which the nearest is.
struct Guess {
  double *own;
  double *least;
  double *next;
  std::int32_t *code;
};

/// The box around each panel's code vectors, to leave out panels that are too far from a tile.
struct Boxes {
  const double *lower;  // (dim, stride)
  const double *upper;  // (dim, stride)
  std::int64_t stride;  // panels, padded
};

/// What rounding did to a block of rows and to the codes.
struct Quantized {
  const double *norms;      // (rows,), squared norms of the integers
  const double *residuals;  // (rows,), squared norms of what rounding left
  const double *scales;     // (rows / kTileRows,), units of the codes in a unit of the latents
  double unit;              // units of the codes per length
  double code_residual;     // the greatest fixed_point_residual of a code vector
  double dim;
  double widen;             // 1, but for tests that need a reach that is too short
};

/// Pairs of a row of the block and a code, with room for `capacity`.
struct Pairs {
  std::int32_t *rows;
  std::int32_t *codes;
  std::int64_t count;
  std::int64_t capacity;
};

/// What the rows and code vectors are, exactly.
struct Exact {
  const double *rows;   // (rows, stride)
  const void *vectors;  // (codes, stride) floats, or doubles if `wide`; readable up to codes + 3
  bool wide;
  std::int64_t codes;
  std::int64_t stride;
  bool narrow;      // whether all entries from the fifth on are padding
  double relative;  // what is computed as farther by this factor and the slack
  double slack;     // is farther
};

enum RowState : std::uint8_t {
  kSettled,  // one code leads by more than the filter needs
  kSeveral,  // its pairs hold every nearest code
  kCrowded,  // a lane may hold further candidates than it remembers
};

struct Settled {
  std::int32_t *codes;
  double *sqdist;  // of a crowded row: to some code that is not far from the nearest, or infinite
  double *next;    // of a settled row: to the nearest other code of its group
  std::uint8_t *states;
};

struct Isa {
  const char *name;
  int lanes;  // 32-bit lanes of a vector
  bool (*supported)();

  /// Read rows as exact doubles, `stride` apart, padded with zeros.
  void (*read)(const Matrix &matrix, std::int64_t first, std::int64_t count, std::int64_t stride,
               double *out);
  /// Dot products of x - centre and kPad vectors, `stride` apart as the rows are.
  void (*products)(const double *rows, std::int64_t count, std::int64_t stride, const double *centre,
                   const double *vectors, double *out);
  /// Round scale * (x - centre) to 16-bit integers, `pairs` pairs a row, and sum the squares of what
  /// rounding left of each row, and of the integers.
  void (*quantize)(const double *rows, const double *centre, double scale, std::int64_t count,
                   std::int64_t stride, std::int64_t pairs, std::int32_t *out, double *residuals,
                   double *norms);
  /// Compare a block of rows with the panels [first, last).
  void (*scan)(const Scan &scan, const Panels &panels, std::int64_t first, std::int64_t last);
  /// Squared distances of a box to each of the panels' boxes.
  void (*gaps)(const Boxes &boxes, std::int64_t dim, const double *lower, const double *upper,
               double *out);
  /// The greatest squared distance of the first `rows` rows, each to its best code so far.
  double (*reached)(const Scan &scan, std::int64_t rows, const Panels &panels, const Exact &exact);
  /// Find for each row a score that `count` codes reach: the greatest of all for one, else nearly the
  /// `count`-th greatest; kNothing if fewer are remembered.
  void (*leading)(const Memory &memory, std::int64_t rows, const Panels &panels, std::int64_t codes,
                  int count, std::int32_t *out);
  /// Given scores that `count` codes of each row reach, find the score that each of the `count`
  /// nearest codes reaches, and the gap of squared distances that the filter sees. Whole tiles of
  /// rows. Theorem: quantized_score_gap_le.
  void (*certify)(const std::int32_t *scores, std::int64_t rows, const Panels &panels,
                  const Quantized &quantized, std::int32_t *thresholds, double *clear);
  /// Settle the rows where one group alone reaches the threshold, and its nearest code leads by the
  /// gap `clear` in squared distances; append the candidates of the others.
  void (*settle)(const Scan &scan, std::int64_t rows, const Panels &panels, const Exact &exact,
                 const std::int32_t *thresholds, const double *clear, const Settled &settled,
                 Pairs &pairs);
  /// List all codes of one row whose score is at least `threshold`; false if there is no room.
  bool (*collect)(const std::int32_t *integers, int shift, std::int32_t threshold,
                  const Panels &panels, std::int64_t codes, std::int32_t row, Pairs &pairs);
  /// Squared distances of pairs of a row and a code vector, in float64.
  void (*sqdist)(const double *rows, const void *vectors, bool wide, std::int64_t stride,
                 const Pairs &pairs, double *out);
  /// Squared distance of two rows of `stride` doubles as a sum of two doubles, which errs by at most
  /// bounds::sqdist_pair_radius if it is within 2^-900 .. 2^1000; else it may be anything.
  void (*sqdist_pair)(const double *row, const double *vector, std::int64_t stride, double *out);
  /// Transpose `count` vectors from the `first`, at most kDenseCodes, to (dim, kDenseCodes).
  void (*transpose)(const void *vectors, bool wide, std::int64_t first, std::int64_t count,
                    std::int64_t stride, std::int64_t dim, double *out);
  /// Squared distances of one row to kDenseCodes transposed vectors, in float64; returns the least.
  double (*dense)(const double *row, const double *transposed, std::int64_t dim, double *out);
  /// The same for integers, modulo 2^64. Returns the least of their differences from `base`, as
  /// signed numbers, over those whose `sqdist` is at most `limit`; INT64_MAX if there is none.
  std::int64_t (*wrapped)(const std::int64_t *row, const std::int64_t *transposed, std::int64_t dim,
                          const double *sqdist, double limit, std::uint64_t base,
                          std::uint64_t *out);

  // The codes near to a row besides its own; see near-inl.h. Rows `first` to `first + count` of a block.

  /// Find the best group of each row besides that of its own code (none if that is negative); take
  /// both out of what is remembered. Returns the first code of the group, -1 if there is none.
  void (*rivals)(const Memory &memory, std::int64_t first, std::int64_t count, const Panels &panels,
                 const std::int32_t *own, std::int32_t *out);
  /// List the groups that reach the threshold of their row, by their first code. A lane of a part that
  /// may hold more than it remembers is listed as a whole, if it has few panels and there is room; else
  /// nothing of the part is listed, but its bit is set in `crowded`. `groups` has room for all lanes.
  void (*passing)(const Memory &memory, std::int64_t rows, const Panels &panels,
                  const std::int32_t *thresholds, Pairs &groups, std::uint32_t *crowded);
  /// Squared distances of pairs of a row and a group, infinite for what is no code.
  void (*group_sqdists)(const Exact &exact, bool grouped, const Pairs &groups, double *out);
  /// Squared distances of pairs of two codes.
  void (*apart)(const void *vectors, bool wide, std::int64_t stride, const Pairs &pairs, double *out);
  /// Choose among the groups of a row's own code and of its rival, whose squared distances lie side
  /// by side; those to the own code and to the nearest other one are made infinite.
  void (*choose)(std::int64_t first, std::int64_t count, bool grouped, const std::int32_t *own,
                 const std::int32_t *rival, double *sqdist, const Guess &guess);
  /// Keep the pairs of a row and a code of a group whose squared distance is at most the row's limit;
  /// `kept` has room for all of them.
  void (*keep_within)(const Pairs &groups, std::int64_t width, const double *sqdist,
                      const double *limit, Pairs &kept, double *out);
  /// Sort squared distances, at most kMostKeys of them, as keys: their bits, of which the last are
  /// replaced by their place. Returns the least `wanted` keys, at most 2 kPad; infinite if there are
  /// fewer. Readable are whole vectors of squared distances, and `out` has room for 2 kPad.
  void (*sort_keys)(const double *sqdist, std::int64_t count, int wanted, double *out);
  /// bounds::border_distance_of_sqdist of many pairs.
  void (*borders)(std::int64_t count, const double *farther, const double *nearer,
                  const double *between, double dim, double *out);
  /// bounds::border_reach of many rows, and the bounds::sqdist_limit of it.
  void (*reaches)(std::int64_t count, const double *nearer, const double *radius, double dim,
                  double *reach, double *limit);
  /// The score that every code within `reach` of its row exceeds, for whole tiles of rows.
  void (*score_limits)(const Quantized &quantized, std::int64_t rows, double names,
                       const double *reach, std::int32_t *out);

  /// At least the distance of each row to every code but its own one, which is that of the group with
  /// the best score; given the computed squared distance to the `next` one of that group, and to the
  /// codes `beyond`, which were not compared. Whole tiles of rows; what is not settled gets anything.
  void (*lowers)(const Scan &scan, std::int64_t rows, const Panels &panels,
                 const Quantized &quantized, const std::int32_t *codes, const double *next,
                 const double *beyond, double *out);

  // Packing, all of whose vectors are floats, or doubles if `wide`, `stride` apart.

  /// Read rows as doubles if they are, else as floats, -0 as 0, padded with zeros; hash each.
  void (*take)(const Matrix &matrix, std::int64_t first, std::int64_t count, std::int64_t stride,
               void *out, std::uint64_t *hashes);
  /// Sum the squares of y - centre for each vector.
  void (*measure)(const void *vectors, bool wide, std::int64_t count, std::int64_t stride,
                  const double *centre, double *squares);
  /// Write the panel of `count` vectors, at least one, with copies of the last one, marked, in the
  /// padding. `rounded` has room for (kBlocks * lanes, pairs). Returns the greatest sum of squares of
  /// what rounding left of a vector.
  double (*write_panel)(const void *vectors, bool wide, std::int64_t count, std::int64_t stride,
                        const double *centre, double scale, std::int64_t pairs,
                        std::int32_t *rounded, std::int16_t *panel, std::int32_t *offsets);

  const ByteIsa *bytes;  // null if the instruction set has no products of bytes
};

/// Those that this build contains, best first.
extern const Isa *const kIsas[];
extern const int kIsaCount;

/// Return the named one, or the best that runs here for ""; throws std::invalid_argument.
const Isa &choose_isa(const char *name);

}  // namespace certvq
