// Advanced SIMD is part of AArch64, so these run on every such core. They use nothing newer than ARMv8.0.
#include "kernel_list.h"

#if defined(__aarch64__)

#include <arm_neon.h>

namespace pitcore {
namespace {

// The weight of each of eight pixels in its byte of the mask; twice, for a vector of sixteen.
constexpr std::uint8_t bit_weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};

// Foreground of pixels x to x + 15, all ones or all zeros in each byte. The subtraction saturates at 0, which no
// threshold reaches, since thresholds start at 1.
inline uint8x16_t mask16(const RowRule& rule, uint8x16_t level, uint8x16_t threshold, std::int32_t x) noexcept {
  const uint8x16_t pixels = vld1q_u8(rule.pixels + x);
  const uint8x16_t background = rule.background != nullptr ? vld1q_u8(rule.background + x) : level;
  const uint8x16_t difference = rule.dark ? vqsubq_u8(background, pixels) : vqsubq_u8(pixels, background);
  return vcgeq_u8(difference, threshold);
}

}  // namespace

void neon_mask_row(const RowRule& rule, std::int32_t width_px, MaskStep step, std::uint64_t* bits) noexcept {
  const uint8x16_t level = vdupq_n_u8(rule.level);
  const uint8x16_t threshold = vdupq_n_u8(rule.threshold);
  const uint8x16_t weights = vld1q_u8(bit_weights);
  std::int32_t x = 0;
  for (; x + 64 <= width_px; x += 64) {
    // Weighted bytes are added in pairs, pairs of pairs and again: eight pixels end up in one byte, 64 in a word.
    const uint8x16_t first = vpaddq_u8(vandq_u8(mask16(rule, level, threshold, x), weights),
                                       vandq_u8(mask16(rule, level, threshold, x + 16), weights));
    const uint8x16_t second = vpaddq_u8(vandq_u8(mask16(rule, level, threshold, x + 32), weights),
                                        vandq_u8(mask16(rule, level, threshold, x + 48), weights));
    const uint8x16_t quarters = vpaddq_u8(first, second);
    const uint8x16_t bytes = vpaddq_u8(quarters, quarters);
    put_word(vgetq_lane_u64(vreinterpretq_u64_u8(bytes), 0), step, bits++);
  }
  if (x == width_px) return;
  std::uint64_t word = 0;
  for (std::int32_t i = 0; x + i < width_px; ++i) word |= std::uint64_t{is_foreground(rule, x + i)} << i;
  put_word(word, step, bits);
}

std::uint64_t neon_sum_row(const std::uint8_t* pixels, std::int32_t count) noexcept {
  uint64x2_t sums = vdupq_n_u64(0);
  std::int32_t i = 0;
  for (; i + 16 <= count; i += 16) {
    sums = vpadalq_u32(sums, vpaddlq_u16(vpaddlq_u8(vld1q_u8(pixels + i))));
  }
  std::uint64_t sum = vaddvq_u64(sums);
  for (; i < count; ++i) sum += pixels[i];
  return sum;
}

}  // namespace pitcore

#endif
