// Flush-to-zero for the calling thread.
//
// Subnormal floats cost many times a normal one on some processors, and carry nothing a verdict needs.
// The mode belongs to a thread; nothing here acts on others, or when the library is loaded.
#pragma once

#include <cstdint>

namespace pitcore {

// The bits that flush: x86 MXCSR FTZ (15) and DAZ (6); aarch64 FPCR FZ (24). Zero where we know none.
std::uint64_t flush_bits() noexcept;

// The calling thread's whole floating-point control register: MXCSR or FPCR. Zero where we know none.
std::uint64_t read_mode() noexcept;

// Sets the register. Give it only what read_mode returned, with flush_bits added or not.
void write_mode(std::uint64_t mode) noexcept;

// Multiplies a real subnormal: true if the calling thread flushes.
bool flushes_subnormals() noexcept;

// Flushes while it lives, then gives the thread its whole old mode back. Leave on the entering thread.
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
