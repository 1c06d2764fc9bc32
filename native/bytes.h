/// What an instruction set provides for the first pass, which compares 8-bit integers.
///
/// In: nothing. Out: the table `ByteIsa`, whose functions `bytes-inl.h` defines. Scores are exact
/// sums of products of integers, as in `isa.h`, but of fewer bits: their reach is longer, and four
/// products take the time of two.

#pragma once

#include <cstdint>

namespace certvq {

struct Exact;
struct Pairs;
struct Panels;

constexpr int kByteCodeLimit = 127;  // magnitude of a code vector's integers
constexpr int kByteShift = 128;      // added to them in the panels, so that they have no sign

/// A block of rows for the first pass.
struct ByteScan {
  const std::int32_t *integers;  // (rows, quads): four 8-bit entries each
  const std::int32_t *starts;    // (rows, chunks): minus what the codes' shift adds to a chunk's sums
  const float *ratios;           // (rows): units of a latent in a unit of the codes; one for each tile
  std::int64_t rows;             // a multiple of kTileRows
  std::int32_t *best;            // (rows, 2, lanes)
  std::int64_t begin;            // the panel that is compared first
};

/// Rows rounded to bytes.
struct ByteRows {
  std::int32_t *integers;  // (rows, quads)
  std::int32_t *starts;    // (rows, chunks)
  double *residuals;       // (rows,), squared norms of what rounding left
  double *norms;           // (rows,), squared norms of the integers
};

struct ByteIsa {
  int limit;           // magnitude of a latent's integers
  std::int64_t chunk;  // quads that are summed in 16 bits, or 0: all sums have 32
  // Measured, in products of the filter: what a product saves, and what a code and row cost more.
  double saved;
  double bookkeeping;

  /// The greatest magnitude of an entry of x - centre.
  double (*widest)(const void *rows, bool wide, const double *centre, std::int64_t count,
                   std::int64_t stride);
  /// Round scale * (x - centre) to bytes. Returns the greatest squared norm of the entries that one
  /// 16-bit sum covers.
  double (*round)(const double *rows, const double *centre, double scale, std::int64_t count,
                  std::int64_t stride, std::int64_t quads, const ByteRows &out);
  /// Compare a block of rows with the panels [first, last). A score is shifted to the left and the
  /// number of its group added.
  void (*scan)(const ByteScan &scan, const Panels &panels, std::int64_t first, std::int64_t last);
  /// List the codes of the panels [first, last) that score at least `threshold`, in the scan's form;
  /// false if there is no room.
  bool (*collect)(const ByteScan &scan, std::int64_t row, std::int32_t threshold, const Panels &panels,
                  std::int64_t first, std::int64_t last, std::int64_t codes, Pairs &pairs);
  /// Write a panel as Isa::write_panel does, of bytes and float offsets. Raises `residual`, `norm` and
  /// `part` to the greatest squared norms of what rounding left, of the integers, and of those that
  /// one 16-bit sum covers.
  void (*write_panel)(const void *vectors, bool wide, std::int64_t count, std::int64_t stride,
                      const double *centre, double scale, std::int64_t quads, std::int32_t *rounded,
                      std::int32_t *panel, std::int32_t *offsets, double *residual, double *norm,
                      double *part);
};

}  // namespace certvq
