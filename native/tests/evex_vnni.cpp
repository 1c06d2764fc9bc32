/// The body of AVX-VNNI in the encoding of AVX-512; only with -DCERTVQ_EVEX=ON.

#define CERTVQ_EVEX_BODY
#include "../isa_avx_vnni.cpp"
