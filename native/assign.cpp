#include "assign.h"

#include <memory>

#include "axis_codes.h"
#include "byte_codes.h"
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

/// The first pass of this call, or none: along few axes, else over bytes.
MakeCoarse first_pass(const Packed &packed, const Matrix &latents) {
  const FirstPassUse use = packed.first_pass;
  const bool measured = use == FirstPassUse::kMeasured;
  const bool few = latents.rows < kLeastRows || packed.distinct < kLeastCodes || packed.dim < kLeastDim;
  if (use == FirstPassUse::kNever || (measured && few)) return {};
  const auto pays = [&](const MakeCoarse &make) {
    return !measured || FirstPass::pays(packed, make, latents);
  };
  const AxisCodes *axes = use != FirstPassUse::kBytes ? packed.axis_codes() : nullptr;
  const MakeCoarse along = [&packed, axes] { return std::make_unique<AxisForm>(packed, *axes); };
  if (axes != nullptr && pays(along)) return along;
  const ByteCodes *bytes = use != FirstPassUse::kAxes ? packed.byte_codes() : nullptr;
  const MakeCoarse over = [&packed, bytes] { return std::make_unique<ByteForm>(packed, *bytes); };
  if (bytes != nullptr && pays(over)) return over;
  return {};
}

}  // namespace

Refusal assign(const Packed &packed, const Matrix &latents, int threads, const Results &results,
               const std::function<bool()> &interrupted) {
  const Work work{latents.rows, Worker::share_rows(packed),
                  static_cast<double>(latents.rows) * static_cast<double>(packed.distinct) *
                      static_cast<double>(packed.dim)};
  const MakeCoarse coarse = first_pass(packed, latents);
  const auto make = [&](Progress &progress, const std::function<void()> &poll) {
    const auto worker = std::make_shared<Worker>(packed, latents, results, progress, poll, coarse);
    return Share{[worker](std::int64_t first, std::int64_t last, std::int64_t then) {
                   worker->decide(first, last, then);
                 },
                 [worker] { worker->finish(); }};
  };
  return share(work, threads, make, interrupted);
}

}  // namespace certvq
