/// Blocks of rows, shared among several threads.
///
/// In: how many rows there are and what a thread does with a block. Out: whether all were done, or
/// why not. The calling thread works too, and looks for signals.

#pragma once

#include <cstdint>
#include <functional>

#include "packed.h"
#include "worker.h"

namespace certvq {

/// What one thread does; it owns the buffers.
struct Share {
  /// Rows [first, last); the thread's next ones will probably begin at `then`.
  std::function<void(std::int64_t first, std::int64_t last, std::int64_t then)> block;
  std::function<void()> finish;
};

/// Make a thread's share; `poll` is to be called now and then and may refuse the progress.
using MakeShare = std::function<Share(Progress &progress, const std::function<void()> &poll)>;

struct Work {
  std::int64_t rows;
  std::int64_t block_rows;  // at most, in a block
  double products;          // multiplications in all, to see whether threads are worth it
};

/// Do all rows. `interrupted` is asked, on the calling thread, a few times a second.
Refusal share(const Work &work, int threads, const MakeShare &make,
              const std::function<bool()> &interrupted);

}  // namespace certvq
