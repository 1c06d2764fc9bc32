#include "assign.h"

#include <memory>

#include "share.h"

namespace certvq {

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

namespace {

// From here on a call may be worth a first pass: its codes have to be packed once, and a few rows
// are sampled.
constexpr std::int64_t kLeastRows = 768;
constexpr std::int64_t kLeastCodes = 256;
constexpr std::int64_t kLeastDim = 8;

/// The codes of the first pass if this call has one.
const ByteCodes *first_pass_codes(const Packed &packed, const Matrix &latents) {
  if (packed.first_pass == FirstPassUse::kNever) return nullptr;
  if (packed.first_pass == FirstPassUse::kAlways) return packed.byte_codes();
  if (latents.rows < kLeastRows || packed.distinct < kLeastCodes || packed.dim < kLeastDim) {
    return nullptr;
  }
  const ByteCodes *codes = packed.byte_codes();
  return codes != nullptr && FirstPass::pays(packed, *codes, latents) ? codes : nullptr;
}

}  // namespace

Refusal assign(const Packed &packed, const Matrix &latents, int threads, const Results &results,
               const std::function<bool()> &interrupted) {
  const Work work{latents.rows, Worker::share_rows(packed),
                  static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  const ByteCodes *bytes = first_pass_codes(packed, latents);
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto worker = std::make_shared<Worker>(packed, latents, results, progress, poll, bytes);
    return Share{[worker](std::int64_t first, std::int64_t last, std::int64_t then) {
                   worker->decide(first, last, then);
                 },
                 [worker] { worker->finish(); }};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
