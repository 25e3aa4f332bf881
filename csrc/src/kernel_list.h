// Private: the functions of kernel.h's list, and their shared code.
#pragma once

#include "pitcore/kernel.h"

namespace pitcore {

inline bool is_foreground(const RowRule& rule, std::int32_t x) noexcept {
  const int pixel = rule.pixels[x];
  const int background = rule.background != nullptr ? rule.background[x] : rule.level;
  return (rule.dark ? background - pixel : pixel - background) >= rule.threshold;
}

inline void put_word(std::uint64_t word, MaskStep step, std::uint64_t* bits) noexcept {
  switch (step) {
    case MaskStep::replace:
      *bits = word;
      break;
    case MaskStep::either:
      *bits |= word;
      break;
    case MaskStep::both:
      *bits &= word;
      break;
  }
}

#if defined(__x86_64__)
bool avx2_runs_here() noexcept;
void avx2_mask_row(const RowRule& rule, std::int32_t width_px, MaskStep step, std::uint64_t* bits) noexcept;
std::uint64_t avx2_sum_row(const std::uint8_t* pixels, std::int32_t count) noexcept;

void sse2_mask_row(const RowRule& rule, std::int32_t width_px, MaskStep step, std::uint64_t* bits) noexcept;
std::uint64_t sse2_sum_row(const std::uint8_t* pixels, std::int32_t count) noexcept;
#elif defined(__aarch64__)
void neon_mask_row(const RowRule& rule, std::int32_t width_px, MaskStep step, std::uint64_t* bits) noexcept;
std::uint64_t neon_sum_row(const std::uint8_t* pixels, std::int32_t count) noexcept;
#endif

}  // namespace pitcore
