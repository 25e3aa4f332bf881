#include "pitcore/kernel.h"

#include <atomic>
#include <cstring>

#include "kernel_list.h"

namespace pitcore {
namespace {

bool always() noexcept { return true; }

void scalar_mask_row(const RowRule& rule, std::int32_t width_px, MaskStep step, std::uint64_t* bits) noexcept {
  for (std::int32_t first = 0; first < width_px; first += 64) {
    const std::int32_t count = width_px - first < 64 ? width_px - first : 64;
    std::uint64_t word = 0;
    for (std::int32_t i = 0; i < count; ++i) {
      word |= std::uint64_t{is_foreground(rule, first + i)} << i;
    }
    put_word(word, step, bits++);
  }
}

std::uint64_t scalar_sum_row(const std::uint8_t* pixels, std::int32_t count) noexcept {
  std::uint64_t sum = 0;
  for (std::int32_t i = 0; i < count; ++i) sum += pixels[i];
  return sum;
}

constexpr Kernel kernels[] = {
#if defined(__x86_64__)
    {"avx2", avx2_runs_here, avx2_mask_row, avx2_sum_row},
    {"sse2", always, sse2_mask_row, sse2_sum_row},
#elif defined(__aarch64__)
    {"neon", always, neon_mask_row, neon_sum_row},
#endif
    {"scalar", always, scalar_mask_row, scalar_sum_row},
};

const Kernel* best() noexcept {
  for (const Kernel& kernel : kernels) {
    if (kernel.runs_here()) return &kernel;
  }
  return nullptr;  // never: scalar runs everywhere
}

// Null before the first use, because loading the library must compute nothing.
std::atomic<const Kernel*> active{nullptr};

}  // namespace

const Kernel* kernel_list(std::size_t* count) noexcept {
  *count = sizeof(kernels) / sizeof(kernels[0]);
  return kernels;
}

const Kernel& active_kernel() noexcept {
  const Kernel* kernel = active.load(std::memory_order_acquire);
  if (kernel == nullptr) {
    kernel = best();
    active.store(kernel, std::memory_order_release);
  }
  return *kernel;
}

Status force_kernel(const char* name) noexcept {
  if (std::strcmp(name, "auto") == 0) {
    active.store(best(), std::memory_order_release);
    return Status::ok;
  }
  for (const Kernel& kernel : kernels) {
    if (std::strcmp(name, kernel.name) != 0) continue;
    if (!kernel.runs_here()) return Status::unsupported_kernel;
    active.store(&kernel, std::memory_order_release);
    return Status::ok;
  }
  return Status::unknown_kernel;
}

}  // namespace pitcore
