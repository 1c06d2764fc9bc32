#include "isa.h"

#include <cstring>
#include <stdexcept>
#include <string>

namespace certvq {

#if defined(__x86_64__)
extern const Isa kVnni, kAvx512, kAvxVnni, kEvexVnni, kAvx2;
#elif defined(__aarch64__)
extern const Isa kNeon;
#endif
extern const Isa kPortable;

const Isa *const kIsas[] = {
#if defined(__x86_64__)
    &kVnni, &kAvx512, &kAvxVnni,
#if defined(CERTVQ_EVEX)
    &kEvexVnni,
#endif
    &kAvx2,
#elif defined(__aarch64__)
    &kNeon,
#endif
    &kPortable,
};
const int kIsaCount = sizeof(kIsas) / sizeof(kIsas[0]);

const Isa &choose_isa(const char *name) {
  std::string known;
  for (const Isa *isa : kIsas) {
    if (*name == '\0' && isa->supported()) return *isa;
    if (std::strcmp(name, isa->name) == 0) {
      if (isa->supported()) return *isa;
      throw std::invalid_argument(std::string("this processor lacks ") + name);
    }
    known += (known.empty() ? "" : ", ") + std::string(isa->name);
  }
  throw std::invalid_argument("must be one of " + known + ", got " + name);
}

}  // namespace certvq
