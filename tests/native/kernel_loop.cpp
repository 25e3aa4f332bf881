// Runs one kernel over one row of the production frame again and again, so that an emulator can count what it costs:
//   pitcore_kernel_loop KERNEL mask|sum REPEATS
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "pitcore/kernel.h"

int main(int count, char** words) {
  if (count != 4) {
    std::fprintf(stderr, "usage: pitcore_kernel_loop KERNEL mask|sum REPEATS\n");
    return 2;
  }
  if (pitcore::force_kernel(words[1]) != pitcore::Status::ok) {
    std::fprintf(stderr, "pitcore_kernel_loop: no kernel '%s' here\n", words[1]);
    return 2;
  }
  constexpr std::int32_t width_px = 2464;
  std::vector<std::uint8_t> pixels(width_px);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37 % 251);
  std::vector<std::uint64_t> bits((width_px + 63) / 64);
  pitcore::RowRule rule;
  rule.pixels = pixels.data();
  rule.level = 6;
  rule.threshold = 14;
  const pitcore::Kernel& kernel = pitcore::active_kernel();
  const bool masks = std::strcmp(words[2], "mask") == 0;
  std::uint64_t sum = 0;
  for (long repeat = std::atol(words[3]); repeat > 0; --repeat) {
    if (masks) {
      kernel.mask_row(rule, width_px, pitcore::MaskStep::replace, bits.data());
      sum += bits[3];
    } else {
      sum += kernel.sum_row(pixels.data(), width_px);
    }
  }
  return sum == 1;  // keeps the work from being left out
}
