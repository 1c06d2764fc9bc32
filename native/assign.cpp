#include "assign.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace certvq {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::milliseconds(100);
constexpr double kWorthThreads = 4e6;  // multiplications; a thread takes about 30 us to start

/// Rows of a block: small enough that every thread gets a share, and even ones.
std::int64_t shared_block(std::int64_t rows, std::int64_t most, int threads) {
  std::int64_t blocks = (rows + most - 1) / most;
  if (blocks < 16 * threads) blocks = (blocks + threads - 1) / threads * threads;
  const std::int64_t even = (rows + blocks - 1) / blocks;
  return std::min(most, (even + kTileRows - 1) / kTileRows * kTileRows);
}

}  // namespace

bool ieee754() {
  volatile double tiny = 0x1p-1074;
  volatile double one = 1.0;
  volatile double ulp = 0x1p-53;
  volatile float small = 0x1p-149f;
  const double kept = tiny * one;
  const double widened = static_cast<double>(small);
  return kept != 0.0 && widened != 0.0 && one + ulp == 1.0 && -one - ulp == -1.0 &&
         one + 1.5 * ulp == 1.0 + 0x1p-52;
}

Refusal assign(const Packed &packed, const Matrix &latents, int threads, const Results &results,
               const std::function<bool()> &interrupted) {
  Progress progress;
  const double work = static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim);
  if (work < kWorthThreads) threads = 1;
  const std::int64_t block = shared_block(std::max<std::int64_t>(latents.rows, 1),
                                          Worker::share_rows(packed), threads);
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;
  std::atomic<bool> failed{false};

  auto run = [&](const std::function<void()> &poll) {
    try {
      Worker worker(packed, latents, results, progress, poll);
      while (!progress.stopped()) {
        const std::int64_t first = next.fetch_add(block);
        if (first >= latents.rows) break;
        worker.decide(first, std::min(first + block, latents.rows));
      }
      if (!progress.stopped()) worker.finish();
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
      progress.refuse(Refusal::kStopped);
    }
  };

  auto asked = Clock::now();
  const auto poll = [&] {
    const auto now = Clock::now();
    if (now - asked < kPatience) return;
    asked = now;
    if (interrupted()) progress.refuse(Refusal::kStopped);
  };

  std::vector<std::thread> others;
  const std::int64_t shares = (latents.rows + block - 1) / block;
  try {
    for (std::int64_t other = 1; other < std::min<std::int64_t>(threads, shares); ++other) {
      others.emplace_back(run, [] {});
    }
  } catch (const std::system_error &) {
    // no further thread to be had: those that run do the work
  }
  run(poll);
  for (std::thread &other : others) other.join();
  if (failure) std::rethrow_exception(failure);
  return progress.refusal();
}

}  // namespace certvq
