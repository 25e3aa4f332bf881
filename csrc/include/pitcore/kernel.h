// The loops that use vector instructions, each with a scalar twin, and the choice among them.
//
// One list, best first; the first kernel that the processor supports is active. A caller may force one by name
// (tests compare each with `scalar`). To add a kernel, write its two functions in kernel_<isa>.cpp, declare it in
// kernel_list.h, and list it in kernel.cpp; the parity tests find it automatically.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pitcore/status.h"

namespace pitcore {

// One row of one plane, with the rule for foreground:
// bright: pixel - background >= threshold; dark: background - pixel >= threshold.
struct RowRule {
  const std::uint8_t* pixels = nullptr;
  const std::uint8_t* background = nullptr;  // one level a pixel; null: `level` for all
  std::uint8_t level = 0;
  std::uint8_t threshold = 1;
  bool dark = false;
};

// How the result is combined with the mask already in `bits`.
enum class MaskStep { replace, either, both };

struct Kernel {
  const char* name;
  bool (*runs_here)() noexcept;
  // Sets bit x of `bits` if pixel x is foreground. Writes (width + 63) / 64 words, bits past the
  // width zero. Reads no byte past the width.
  void (*mask_row)(const RowRule& rule, std::int32_t width_px, MaskStep step, std::uint64_t* bits) noexcept;
  // Sum of `count` bytes.
  std::uint64_t (*sum_row)(const std::uint8_t* pixels, std::int32_t count) noexcept;
};

// All kernels built for this architecture, best first. The last is `scalar`.
const Kernel* kernel_list(std::size_t* count) noexcept;

// The kernel that segmentation uses now.
const Kernel& active_kernel() noexcept;

// Uses the named kernel from now on, in every thread; "auto" returns to the best.
Status force_kernel(const char* name) noexcept;

}  // namespace pitcore
