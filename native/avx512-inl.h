/// Vectors of 64 bytes, for the instruction sets that differ in how they multiply them.
///
/// In: nothing. Out: all operations of `Ops` but `accumulate`, `multiply_bytes` and `sum_halves`, and the sizes of tiles. Included by each
/// `isa_*.cpp` inside its own unnamed namespace.

struct Avx512 {
  static constexpr int kLanes = 16;
  typedef std::int32_t Ints __attribute__((vector_size(64)));
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
