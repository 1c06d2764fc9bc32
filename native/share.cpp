#include "share.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#if defined(__GLIBC__)
#include <pthread.h>
#include <sched.h>
#else
#include <thread>
#endif

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

/// Processor of the calling thread, -1 if it is not known.
int processor() {
#if defined(__GLIBC__)
  return sched_getcpu();
#else
  return -1;
#endif
}

/// A thread that begins on the n-th allowed processor after its maker's and is free to leave it.
/// Left alone it may be put behind its maker, and wait for milliseconds until the load is balanced.
class Thread {
 public:
  Thread(int maker, int n, std::function<void()> work) : work_(std::move(work)) {
#if defined(__GLIBC__)
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    cpu_set_t one;
    if (neighbour(maker, n, one)) pthread_attr_setaffinity_np(&attributes, sizeof one, &one);
    const int error = pthread_create(&thread_, &attributes, &Thread::run, this);
    pthread_attr_destroy(&attributes);
    if (error != 0) throw std::system_error(error, std::generic_category());
#else
    static_cast<void>(maker);
    static_cast<void>(n);
    thread_ = std::thread(work_);
#endif
  }
  Thread(const Thread &) = delete;
  Thread &operator=(const Thread &) = delete;

  void join() {
#if defined(__GLIBC__)
    pthread_join(thread_, nullptr);
#else
    thread_.join();
#endif
  }

 private:
#if defined(__GLIBC__)
  bool neighbour(int maker, int n, cpu_set_t &one) {
    if (maker < 0 || sched_getaffinity(0, sizeof allowed_, &allowed_) != 0) return false;
    const int count = CPU_COUNT(&allowed_);
    if (count < 2 || n % count == 0) return false;
    int processor = maker;
    for (int step = n % count; step > 0;) {
      processor = (processor + 1) % CPU_SETSIZE;
      if (CPU_ISSET(processor, &allowed_)) --step;
    }
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    restricted_ = true;
    return true;
  }
  static void *run(void *self) {
    auto *thread = static_cast<Thread *>(self);
    if (thread->restricted_) sched_setaffinity(0, sizeof thread->allowed_, &thread->allowed_);
    thread->work_();
    return nullptr;
  }
  pthread_t thread_{};
  cpu_set_t allowed_{};
  bool restricted_ = false;
#else
  std::thread thread_;
#endif
  std::function<void()> work_;
};

}  // namespace

Refusal share(const Work &work, int threads, const MakeShare &make,
              const std::function<bool()> &interrupted) {
  Progress progress;
  if (work.products < kWorthThreads) threads = 1;
  const std::int64_t block =
      shared_block(std::max<std::int64_t>(work.rows, 1), work.block_rows, threads);
  const std::int64_t shares = (work.rows + block - 1) / block;
  const std::int64_t wanted = std::min<std::int64_t>(threads, shares) - 1;
  const std::int64_t others_rows = std::max<std::int64_t>(wanted, 0) * block;
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;
  std::atomic<bool> failed{false};

  auto run = [&](const std::function<void()> &poll) {
    try {
      const Share own = make(progress, poll);
      while (!progress.stopped()) {
        const std::int64_t first = next.fetch_add(block);
        if (first >= work.rows) break;
        const std::int64_t then = next.load(std::memory_order_relaxed) + others_rows;
        own.block(first, std::min(first + block, work.rows), then);
      }
      if (!progress.stopped()) own.finish();
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
      progress.refuse(Refusal::kStopped);
    }
  };
  std::mutex mutex;
  std::condition_variable ended;
  std::size_t running = 0;  // other threads, under the mutex

  auto asked = Clock::now();
  const auto poll = [&] {
    const auto now = Clock::now();
    if (now - asked < kPatience || progress.stopped()) return;
    asked = now;
    if (interrupted()) progress.refuse(Refusal::kStopped);
  };

  const int here = processor();
  std::vector<std::unique_ptr<Thread>> others;
  others.reserve(static_cast<std::size_t>(std::max<std::int64_t>(wanted, 0)));
  const auto other_run = [&] {
    run([] {});
    const std::lock_guard<std::mutex> lock(mutex);
    --running;
    ended.notify_one();
  };
  for (std::int64_t other = 1; other <= wanted; ++other) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ++running;
    }
    try {
      others.push_back(std::make_unique<Thread>(here, static_cast<int>(other), other_run));
    } catch (...) {  // no further thread to be had: those that run do the work
      const std::lock_guard<std::mutex> lock(mutex);
      --running;
      break;
    }
  }
  run(poll);
  for (std::unique_lock<std::mutex> lock(mutex); running > 0;) {  // signals are still looked for
    ended.wait_for(lock, kPatience);
    lock.unlock();
    poll();
    lock.lock();
  }
  for (const auto &other : others) other->join();
  if (failure) std::rethrow_exception(failure);
  return progress.refusal();
}

}  // namespace certvq
