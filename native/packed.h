/// A codebook, read once: what the filter and the refinement need, and nothing else.
///
/// In: a matrix of any float type. Out: plain arrays, shared by many calls and threads and never
/// changed after packing.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "isa.h"
#include "rows.h"

namespace certvq {

struct FreeAligned {
  void operator()(void *data) const noexcept { std::free(data); }
};

/// Memory for vector loads: aligned to 64 bytes, not initialised.
template <class Entry>
class Aligned {
 public:
  Aligned() = default;
  explicit Aligned(std::int64_t size) : size_(static_cast<std::size_t>(size)) {
    const std::size_t bytes = (size_ * sizeof(Entry) + 64) / 64 * 64;
    data_.reset(static_cast<Entry *>(std::aligned_alloc(64, bytes)));
    if (!data_) throw std::bad_alloc();
  }
  Entry *data() { return data_.get(); }
  const Entry *data() const { return data_.get(); }
  std::size_t bytes() const { return size_ * sizeof(Entry); }

 private:
  std::unique_ptr<Entry, FreeAligned> data_;
  std::size_t size_ = 0;
};

/// Why a kernel does not answer; another path of certvq takes over or names the error.
enum class Refusal : std::uint8_t {
  kNone,
  kNotFinite,  // NaN or infinity
  kExtreme,    // codes 2^399 and latents 2^400 from the centre, or codes within 2^-400 of it
  kStopped,    // a signal arrived
};

struct AxisCodes;
struct ByteCodes;

/// Which first pass blocks have: as a sample of each call says, but for tests.
enum class FirstPassUse : std::uint8_t { kNever, kMeasured, kBytes, kAxes };

/// Distinct code vectors y and the integers nearest to scale * (y - centre).
struct Packed {
  Packed();
  ~Packed();

  const Isa *isa = nullptr;
  Refusal refusal = Refusal::kNone;
  std::int64_t given = 0;     // K: code vectors that the user gave
  std::int64_t distinct = 0;  // U <= K: equal vectors are kept once, with their lowest index
  std::int64_t dim = 0;       // D
  std::int64_t stride = 0;    // padded(D)
  bool wide = false;          // whether vectors are doubles (float64 codebooks), else floats

  double scale = 0.0;          // units per length
  double code_residual = 0.0;  // the greatest fixed_point_residual of a code vector
  Panels panels{};             // views of `integers` and `offsets`
  double widen = 1.0;          // see Quantized
  FirstPassUse first_pass = FirstPassUse::kMeasured;
  bool sorted = false;         // whether panels are compact: see `boxes`
  Boxes boxes{};               // views of `corners`, if sorted

  std::vector<std::int64_t> lowest;  // (U,), empty if nothing was folded and nothing sorted
  Aligned<float> narrow_vectors;     // (U, stride), or empty
  Aligned<double> wide_vectors;      // (U, stride), or empty
  Aligned<double> centre;            // (stride,)
  Aligned<double> corners;           // of the boxes, or empty
  Aligned<std::int16_t> integers;    // see Panels
  Aligned<std::int32_t> offsets;     // -|z|^2 / 2 in units of a score, lower in the padding

  const void *vectors() const {
    return wide ? static_cast<const void *>(wide_vectors.data())
                : static_cast<const void *>(narrow_vectors.data());
  }
  const void *vector(std::int64_t code) const;
  bool narrow() const { return dim <= kPad / 2; }  // see Exact
  /// The distinct vectors as a matrix that can be read.
  Matrix matrix() const;
  /// Write a code vector as doubles, `stride` of them.
  void read_vector(std::int64_t code, double *out) const;
  std::int64_t index(std::int64_t code) const {
    return lowest.empty() ? code : lowest[static_cast<std::size_t>(code)];
  }
  /// The codes as bytes, made by the first call; null if there is no first pass with them.
  const ByteCodes *byte_codes() const;
  /// The same for the codes along few axes.
  const AxisCodes *axis_codes() const;
  std::size_t bytes() const {
    return lowest.size() * sizeof(std::int64_t) + narrow_vectors.bytes() + wide_vectors.bytes() +
           centre.bytes() + corners.bytes() + integers.bytes() + offsets.bytes() +
           coarse_bytes_.load(std::memory_order_relaxed);
  }

 private:
  mutable std::once_flag bytes_made_;
  mutable std::unique_ptr<ByteCodes> bytes_;
  mutable std::once_flag axes_made_;
  mutable std::unique_ptr<AxisCodes> axes_;
  mutable std::atomic<std::size_t> coarse_bytes_{0};  // of both, while another thread may make them
};

/// Read a codebook with at least one row and one column. `refusal` says whether it can be used.
/// Tests clear bits of the hashes, so that unequal vectors have the same.
std::unique_ptr<Packed> pack(const Matrix &codebook, const Isa &isa,
                             std::uint64_t hash_bits = ~std::uint64_t{0});

}  // namespace certvq
