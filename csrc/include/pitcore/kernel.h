// The loops that pay for vector instructions, each with a scalar twin, and the choice among them.
//
// One list, best first; the first that the processor can run is active. A caller may force one by name
// (tests compare each against `scalar`). Adding a kernel: write its two functions in kernel_<isa>.cpp,
// name it in kernel_list.h, list it in kernel.cpp; the parity tests find it by themselves.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pitcore/status.h"

namespace pitcore {

// One row of one plane, with what makes a pixel of it foreground:
// bright: pixel - background >= threshold; dark: background - pixel >= threshold.
struct RowRule {
  const std::uint8_t* pixels = nullptr;
  const std::uint8_t* background = nullptr;  // one level a pixel; null: `level` for all
  std::uint8_t level = 0;
  std::uint8_t threshold = 1;
  bool dark = false;
};

// What becomes of the mask already in `bits`.
enum class MaskStep { replace, either, both };

struct Kernel {
  const char* name;
  bool (*runs_here)() noexcept;
  // Bit x of `bits` tells whether pixel x is foreground. Writes (width + 63) / 64 words, bits past the
  // width zero. Reads no byte past the width.
  void (*mask_row)(const RowRule& rule, std::int32_t width_px, MaskStep step, std::uint64_t* bits) noexcept;
  // Sum of `count` bytes.
  std::uint64_t (*sum_row)(const std::uint8_t* pixels, std::int32_t count) noexcept;
};

// All kernels built for this architecture, best first. The last is `scalar`.
const Kernel* kernel_list(std::size_t* count) noexcept;

// The one that segmentation uses now.
const Kernel& active_kernel() noexcept;

// Uses the named kernel from now on, in every thread; "auto" returns to the best.
Status force_kernel(const char* name) noexcept;

}  // namespace pitcore
