// SSE2 is part of x86-64; AVX2 is compiled for single functions and chosen at run time.
#include "kernel_list.h"
#include "pitcore/cpu.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define PITCORE_AVX2 __attribute__((target("avx2")))

namespace pitcore {
namespace {

// Foreground of pixels x to x + 15. Unsigned a >= b is max(a, b) == a; the subtraction saturates at 0,
// which no threshold reaches, since thresholds start at 1.
inline std::uint64_t sse2_mask16(const RowRule& rule, __m128i level, __m128i threshold, std::int32_t x) noexcept {
  const __m128i pixels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rule.pixels + x));
  const __m128i background =
      rule.background != nullptr ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(rule.background + x)) : level;
  const __m128i difference = rule.dark ? _mm_subs_epu8(background, pixels) : _mm_subs_epu8(pixels, background);
  const __m128i foreground = _mm_cmpeq_epi8(_mm_max_epu8(difference, threshold), difference);
  return static_cast<std::uint32_t>(_mm_movemask_epi8(foreground));
}

PITCORE_AVX2 inline std::uint64_t avx2_mask32(const RowRule& rule, __m256i level, __m256i threshold,
                                              std::int32_t x) noexcept {
  const __m256i pixels = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rule.pixels + x));
  const __m256i background =
      rule.background != nullptr ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rule.background + x)) : level;
  const __m256i difference = rule.dark ? _mm256_subs_epu8(background, pixels) : _mm256_subs_epu8(pixels, background);
  const __m256i foreground = _mm256_cmpeq_epi8(_mm256_max_epu8(difference, threshold), difference);
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(foreground));
}

// Prefetches one or two rows ahead, because hardware prefetchers stop at the ends of pages. On frames that do not fit
// into a cache the search takes 0.7 of the time with it. A prefetch beyond the end of the frame does nothing.
constexpr std::int32_t prefetch_ahead = 4096;

inline std::uint64_t tail_mask(const RowRule& rule, std::int32_t x, std::int32_t end) noexcept {
  std::uint64_t word = 0;
  for (std::int32_t i = 0; x + i < end; ++i) word |= std::uint64_t{is_foreground(rule, x + i)} << i;
  return word;
}

}  // namespace

void sse2_mask_row(const RowRule& rule, std::int32_t width_px, MaskStep step, std::uint64_t* bits) noexcept {
  const __m128i level = _mm_set1_epi8(static_cast<char>(rule.level));
  const __m128i threshold = _mm_set1_epi8(static_cast<char>(rule.threshold));
  std::int32_t x = 0;
  for (; x + 64 <= width_px; x += 64) {
    const std::uint64_t low = sse2_mask16(rule, level, threshold, x) | sse2_mask16(rule, level, threshold, x + 16)
                                                                           << 16;
    const std::uint64_t high = sse2_mask16(rule, level, threshold, x + 32) | sse2_mask16(rule, level, threshold, x + 48)
                                                                                 << 16;
    put_word(low | high << 32, step, bits++);
  }
  if (x == width_px) return;
  std::uint64_t word = 0;
  std::int32_t shift = 0;
  for (; x + 16 <= width_px; x += 16, shift += 16) word |= sse2_mask16(rule, level, threshold, x) << shift;
  if (x < width_px) word |= tail_mask(rule, x, width_px) << shift;
  put_word(word, step, bits);
}

PITCORE_AVX2 void avx2_mask_row(const RowRule& rule, std::int32_t width_px, MaskStep step,
                                std::uint64_t* bits) noexcept {
  const __m256i level = _mm256_set1_epi8(static_cast<char>(rule.level));
  const __m256i threshold = _mm256_set1_epi8(static_cast<char>(rule.threshold));
  std::int32_t x = 0;
  for (; x + 64 <= width_px; x += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(rule.pixels + x + prefetch_ahead), _MM_HINT_T0);
    const std::uint64_t low = avx2_mask32(rule, level, threshold, x);
    const std::uint64_t high = avx2_mask32(rule, level, threshold, x + 32);
    put_word(low | high << 32, step, bits++);
  }
  if (x == width_px) return;
  std::uint64_t word = 0;
  std::int32_t shift = 0;
  if (x + 32 <= width_px) {
    word = avx2_mask32(rule, level, threshold, x);
    x += 32;
    shift = 32;
  }
  if (x < width_px) word |= tail_mask(rule, x, width_px) << shift;
  put_word(word, step, bits);
}

std::uint64_t sse2_sum_row(const std::uint8_t* pixels, std::int32_t count) noexcept {
  __m128i sums = _mm_setzero_si128();
  std::int32_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + i));
    sums = _mm_add_epi64(sums, _mm_sad_epu8(bytes, _mm_setzero_si128()));
  }
  sums = _mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums));
  auto sum = static_cast<std::uint64_t>(_mm_cvtsi128_si64(sums));
  for (; i < count; ++i) sum += pixels[i];
  return sum;
}

PITCORE_AVX2 std::uint64_t avx2_sum_row(const std::uint8_t* pixels, std::int32_t count) noexcept {
  __m256i sums = _mm256_setzero_si256();
  std::int32_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pixels + i));
    sums = _mm256_add_epi64(sums, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
  }
  __m128i halves = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  halves = _mm_add_epi64(halves, _mm_unpackhi_epi64(halves, halves));
  auto sum = static_cast<std::uint64_t>(_mm_cvtsi128_si64(halves));
  for (; i < count; ++i) sum += pixels[i];
  return sum;
}

bool avx2_runs_here() noexcept { return has_avx2(); }

}  // namespace pitcore

#endif
