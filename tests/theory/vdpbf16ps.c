/* The instruction VDPBF16PS on arrays; tests/theory/test_axioms.py compiles and calls it. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* out[i] = sums[i] + high(left[i]) high(right[i]) + low(left[i]) low(right[i]); n is a multiple of 16. */
void vdpbf16ps(int64_t n, const float *sums, const uint32_t *left, const uint32_t *right, float *out) {
  for (int64_t i = 0; i < n; i += 16) {
    __m512bh a, b;
    memcpy(&a, left + i, sizeof a);
    memcpy(&b, right + i, sizeof b);
    _mm512_storeu_ps(out + i, _mm512_dpbf16_ps(_mm512_loadu_ps(sums + i), a, b));
  }
}
