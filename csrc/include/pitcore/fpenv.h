// Flush-to-zero for the calling thread.
//
// On some processors subnormal floats take many times longer than normal ones, and no verdict needs them.
// The mode belongs to a thread; nothing here changes other threads, or runs when the library is loaded.
#pragma once

#include <cstdint>

namespace pitcore {

// The bits that flush: x86 MXCSR FTZ (15) and DAZ (6); aarch64 FPCR FZ (24). Zero on other architectures.
std::uint64_t flush_bits() noexcept;

// The calling thread's floating-point control register: MXCSR or FPCR. Zero on other architectures.
std::uint64_t read_mode() noexcept;

// Sets the register. Pass only a value of read_mode, with or without flush_bits.
void write_mode(std::uint64_t mode) noexcept;

// Multiplies a real subnormal: true if the calling thread flushes.
bool flushes_subnormals() noexcept;

// Flushes while it exists, then restores the thread's old mode. Destroy it on the same thread.
class FlushToZero {
 public:
  FlushToZero() noexcept : saved_(read_mode()) { write_mode(saved_ | flush_bits()); }
  ~FlushToZero() { write_mode(saved_); }
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

 private:
  std::uint64_t saved_;
};

}  // namespace pitcore
