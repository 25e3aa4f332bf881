#include "pitcore/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pitcore {

#if defined(__x86_64__)

bool int8_products_saturate() noexcept {
  // Intel's manual, CPUID leaf 7: AVX512_VNNI is ECX bit 11 of subleaf 0, AVX-VNNI EAX bit 4 of subleaf 1. That the
  // operating system saves the registers is what __builtin_cpu_supports adds.
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool has_avx512_vnni = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c >> 11 & 1u) != 0;
  const bool has_avx_vnni = __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1u) != 0;
  return !(has_avx512_vnni && __builtin_cpu_supports("avx512f") != 0) &&
         !(has_avx_vnni && __builtin_cpu_supports("avx2") != 0);
}

#else

bool int8_products_saturate() noexcept { return false; }

#endif

}  // namespace pitcore
