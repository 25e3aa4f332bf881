#include "pitcore/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pitcore {

#if defined(__x86_64__)

// Reads CPUID itself, because __builtin_cpu_supports returns false for everything in binaries linked by zig, such as
// the wheels.
// Bits: Intel's manual, CPUID leaf 7 (AVX2 is EBX bit 5, AVX512F EBX bit 16; AVX512_VNNI is ECX bit 11; AVX-VNNI is EAX
// bit 4 of subleaf 1) and chapter 13, "managing state" (XCR0 bits 1 and 2 for AVX, 5 to 7 as well for AVX-512).
namespace {

constexpr unsigned kAvxState = 0x6, kAvx512State = 0xe6;

bool system_saves(unsigned state) noexcept {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c >> 27 & 1u) == 0) return false;  // no OSXSAVE, no XCR0 to read
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & state) == state;
}

struct Leaf7 {
  unsigned a = 0, b = 0, c = 0, d = 0;
  explicit Leaf7(unsigned subleaf) noexcept {
    if (__get_cpuid_count(7, subleaf, &a, &b, &c, &d) == 0) a = b = c = d = 0;
  }
};

}  // namespace

bool has_avx2() noexcept { return (Leaf7(0).b >> 5 & 1u) != 0 && system_saves(kAvxState); }

bool int8_products_saturate() noexcept {
  const Leaf7 leaf(0);
  const bool avx512_vnni = (leaf.b >> 16 & 1u) != 0 && (leaf.c >> 11 & 1u) != 0 && system_saves(kAvx512State);
  const bool avx_vnni = (Leaf7(1).a >> 4 & 1u) != 0 && has_avx2();
  return !avx512_vnni && !avx_vnni;
}

#else

bool int8_products_saturate() noexcept { return false; }

#endif

}  // namespace pitcore
