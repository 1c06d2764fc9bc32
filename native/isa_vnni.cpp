/// AVX-512 with VNNI: `vpdpwssd` multiplies 32 pairs of 16-bit integers and adds them to 16 sums.

#include "bounds.h"
#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace certvq {
namespace {

struct Ops {
  static constexpr int kLanes = 16;
  static constexpr int kTile = 6;  // 24 sums, 4 vectors of codes and one of a row: 29 registers
  static constexpr int kSmallTile = 4;
  static constexpr int kByteLimit = 127;
  static constexpr std::int64_t kByteChunk = 0;  // `vpdpbusd` sums in 32 bits
  static constexpr double kByteSaved = 0.42;  // see ByteIsa
  static constexpr double kByteBookkeeping = 1.3;
  typedef std::int32_t Ints __attribute__((vector_size(64)));
  typedef std::int16_t Shorts __attribute__((vector_size(16)));
  typedef std::int32_t Fours __attribute__((vector_size(16)));

  static Ints broadcast(std::int32_t value) { return Ints{} + value; }
  static Ints shift_right(Ints v, int bits) { return v >> bits; }
  /// In assembly: GCC 12 copies the destination of the intrinsic to and fro, at half the speed.
  static void accumulate(Ints &sums, Ints row, Ints codes) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(row), "v"(codes));
  }
  static Fours pair_products(Shorts a, Shorts b) {
    return reinterpret_cast<Fours>(
        _mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
  }
  static std::uint64_t narrow(Shorts v) {
    const __m128i bytes = _mm_packs_epi16(reinterpret_cast<__m128i>(v), _mm_setzero_si128());
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(bytes));
  }
  static void multiply_bytes(Ints &sums, Ints row, Ints codes) {
    __asm__("vpdpbusd %1, %2, %0" : "+v"(sums) : "v"(row), "v"(codes));
  }
  static Ints scaled(const std::int32_t *offsets, float ratio) {
    return reinterpret_cast<Ints>(
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(offsets), _mm512_set1_ps(ratio))));
  }
  static void pin(Ints &sums) { __asm__ volatile("" : "+v"(sums)); }
  static std::int32_t greatest(Ints v) {
    return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(v));
  }
  static std::uint32_t at_least(Ints v, std::int32_t threshold) {
    return _mm512_cmpge_epi32_mask(reinterpret_cast<__m512i>(v), _mm512_set1_epi32(threshold));
  }
  template <class Doubles>
  static Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
    return reinterpret_cast<Doubles>(_mm512_fmadd_pd(reinterpret_cast<__m512d>(a),
                                                     reinterpret_cast<__m512d>(b),
                                                     reinterpret_cast<__m512d>(c)));
  }
  template <class Doubles, class Floats>
  static Doubles widen(Floats v) {
    return reinterpret_cast<Doubles>(_mm512_cvtps_pd(reinterpret_cast<__m256>(v)));
  }
  template <class Doubles>
  static Doubles numbers(Shorts v) {
    return reinterpret_cast<Doubles>(
        _mm512_cvtepi32_pd(_mm256_cvtepi16_epi32(reinterpret_cast<__m128i>(v))));
  }
  template <class Doubles>
  static Shorts round(Doubles v) {
    return reinterpret_cast<Shorts>(
        _mm256_cvtepi32_epi16(_mm512_cvtpd_epi32(reinterpret_cast<__m512d>(v))));
  }
};

#include "body-inl.h"

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("f16c");
}

}  // namespace

CERTVQ_TABLE(kVnni, "avx512_vnni");

}  // namespace certvq
#endif
