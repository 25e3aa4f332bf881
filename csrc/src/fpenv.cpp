#include "pitcore/fpenv.h"

namespace pitcore {

// The memory clobbers keep the compiler from moving loads and stores, and with them the arithmetic
// between, across a change of mode.

#if defined(__x86_64__) || defined(__SSE__)

std::uint64_t flush_bits() noexcept { return 0x8040u; }

std::uint64_t read_mode() noexcept {
  std::uint32_t mode = 0;
  asm volatile("stmxcsr %0" : "=m"(mode) : : "memory");
  return mode;
}

void write_mode(std::uint64_t mode) noexcept {
  const auto low = static_cast<std::uint32_t>(mode);
  asm volatile("ldmxcsr %0" : : "m"(low) : "memory");
}

#elif defined(__aarch64__)

std::uint64_t flush_bits() noexcept { return std::uint64_t{1} << 24; }

std::uint64_t read_mode() noexcept {
  std::uint64_t mode = 0;
  asm volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
  return mode;
}

void write_mode(std::uint64_t mode) noexcept { asm volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }

#else

std::uint64_t flush_bits() noexcept { return 0; }
std::uint64_t read_mode() noexcept { return 0; }
void write_mode(std::uint64_t) noexcept {}

#endif

bool flushes_subnormals() noexcept {
  volatile float subnormal = 1e-40f;
  volatile float one = 1.0f;
  return subnormal * one == 0.0f;
}

}  // namespace pitcore
