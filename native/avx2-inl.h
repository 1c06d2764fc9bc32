/// Vectors of 32 bytes, for the instruction sets that differ in how they multiply them.
///
/// In: nothing. Out: all operations of `Ops` but `accumulate`, `multiply_bytes` and `sum_halves`, and the sizes of tiles. Included by each
/// `isa_*.cpp` inside its own unnamed namespace.

struct Avx2 {
  static constexpr int kLanes = 8;
  typedef std::int32_t Ints __attribute__((vector_size(32)));
  typedef std::int16_t Shorts __attribute__((vector_size(16)));
  typedef std::int32_t Fours __attribute__((vector_size(16)));

  static Ints broadcast(std::int32_t value) { return Ints{} + value; }
  static Ints shift_right(Ints v, int bits) { return v >> bits; }
  static Fours pair_products(Shorts a, Shorts b) {
    return reinterpret_cast<Fours>(
        _mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
  }
  static std::uint64_t narrow(Shorts v) {
    const __m128i bytes = _mm_packs_epi16(reinterpret_cast<__m128i>(v), _mm_setzero_si128());
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(bytes));
  }
  static Ints scaled(const std::int32_t *offsets, float ratio) {
    const auto *floats = reinterpret_cast<const float *>(offsets);
    return reinterpret_cast<Ints>(
        _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(floats), _mm256_set1_ps(ratio))));
  }
  static void pin(Ints &sums) { __asm__ volatile("" : "+x"(sums)); }
  static std::int32_t greatest(Ints v) {
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(reinterpret_cast<__m256i>(v)),
                                 _mm256_extracti128_si256(reinterpret_cast<__m256i>(v), 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xB1));
    return _mm_cvtsi128_si32(half);
  }
  static std::uint32_t at_least(Ints v, std::int32_t threshold) {
    const Ints mask = v >= broadcast(threshold);
    return static_cast<std::uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
  }
  template <class Doubles>
  static Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
    return a * b + c;
  }
  template <class Doubles, class Floats>
  static Doubles widen(Floats v) {
    return __builtin_convertvector(v, Doubles);
  }
  template <class Doubles>
  static Doubles numbers(Shorts v) {
    const __m256i wide = _mm256_cvtepi16_epi32(reinterpret_cast<__m128i>(v));
    __m256d halves[2] = {_mm256_cvtepi32_pd(_mm256_castsi256_si128(wide)),
                         _mm256_cvtepi32_pd(_mm256_extracti128_si256(wide, 1))};
    Doubles result;
    __builtin_memcpy(&result, halves, sizeof result);
    return result;
  }
  template <class Doubles>
  static Shorts round(Doubles v) {
    double halves[8];
    __builtin_memcpy(halves, &v, sizeof halves);
    return reinterpret_cast<Shorts>(_mm_packs_epi32(_mm256_cvtpd_epi32(_mm256_loadu_pd(halves)),
                                                    _mm256_cvtpd_epi32(_mm256_loadu_pd(halves + 4))));
  }
};
