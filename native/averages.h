/// Running averages of the tokens of each code, as the vector quantizers keep them.
///
/// In: tokens with their codes; counts and sums of a batch, and their moving averages. Out: the same
/// memory, with the batch added, or taken into the averages and turned into code vectors. Each
/// operation is rounded by itself, in the order of torch's operations in
/// `certvq.nn._codebook.statistics`, so that both give the same bits.

#pragma once

#include <cstdint>

#include "rows.h"

namespace certvq {

/// Add a batch: `counts[c] += n`, and to each row of `sums` its tokens, which are added up in double
/// in the order of the batch and rounded once with what the row held.
///
/// Precondition: codes lie in [0, K); tokens are float32 or float64 with `columns` columns.
template <class Entry>
void add_batch(const Matrix &tokens, const std::int64_t *codes, std::int64_t codebook_size,
               Entry *counts, Entry *sums);

/// What one step moves: rows are codes, all of it contiguous.
template <class Entry>
struct Averages {
  std::int64_t rows, columns;
  const Entry *counts;    // (K,), as they are after the step
  Entry *pending_counts;  // (K,), those of the batch; cleared
  Entry *sums;            // (K, D), moved
  Entry *pending_sums;    // (K, D), those of the batch; cleared
  Entry *codebook;        // (K, D): of codes that got tokens the mean, others are left alone
  Entry *written;         // (K, D), likewise; may be `codebook`
};

/// `sums = decay sums + fresh pending`, and of codes with tokens the vector
/// `sums / ((counts + extra) scale)`, computed in double.
struct Step {
  double decay, fresh, extra, scale;
};

template <class Entry>
void take_in(const Averages<Entry> &averages, const Step &step);

}  // namespace certvq
