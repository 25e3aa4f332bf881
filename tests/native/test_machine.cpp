#include <atomic>
#include <cstring>
#include <thread>

#include "check.h"
#include "pitcore/fpenv.h"
#include "pitcore/kernel.h"
#include "scene.h"

using pitcore::Kernel;
using pitcore::MaskStep;
using pitcore::RowRule;
using pitcore::Status;

TEST(every_kernel_equals_scalar_on_all_widths_and_alignments) {
  std::size_t count = 0;
  const Kernel* const kernels = pitcore::kernel_list(&count);
  const Kernel& scalar = kernels[count - 1];
  CHECK(std::strcmp(scalar.name, "scalar") == 0);
  Random random(3);
  for (std::int32_t width = 1; width < 300; ++width) {
    const auto offset = static_cast<std::size_t>(width % 7);
    const auto length = static_cast<std::size_t>(width) + offset;
    const std::unique_ptr<std::uint8_t[]> pixels(new std::uint8_t[length]);
    const std::unique_ptr<std::uint8_t[]> background(new std::uint8_t[length]);
    for (std::size_t i = 0; i < length; ++i) {
      pixels[i] = static_cast<std::uint8_t>(random.below(256));
      background[i] = static_cast<std::uint8_t>(random.below(256));
    }
    RowRule rule;
    rule.pixels = pixels.get() + offset;
    rule.background = width % 2 == 0 ? background.get() + offset : nullptr;
    rule.level = static_cast<std::uint8_t>(random.below(256));
    rule.threshold = static_cast<std::uint8_t>(1 + random.below(255));
    rule.dark = width % 3 == 0;
    for (std::size_t k = 0; k < count; ++k) {
      if (!kernels[k].runs_here()) continue;
      for (const MaskStep step : {MaskStep::replace, MaskStep::either, MaskStep::both}) {
        const std::size_t words = static_cast<std::size_t>((width + 63) / 64);
        std::vector<std::uint64_t> got(words, 0x5555555555555555u);
        std::vector<std::uint64_t> wanted = got;
        kernels[k].mask_row(rule, width, step, got.data());
        scalar.mask_row(rule, width, step, wanted.data());
        CHECK(got == wanted);
      }
      CHECK(kernels[k].sum_row(rule.pixels, width) == scalar.sum_row(rule.pixels, width));
    }
  }
}

TEST(an_unknown_kernel_is_refused_and_the_active_one_stays) {
  CHECK(pitcore::force_kernel("scalar") == Status::ok);
  CHECK(pitcore::force_kernel("mmx") == Status::unknown_kernel);
  CHECK(std::strcmp(pitcore::active_kernel().name, "scalar") == 0);
  CHECK(pitcore::force_kernel("auto") == Status::ok);
}

TEST(the_guard_flushes_inside_only_and_on_its_thread_only) {
  CHECK(!pitcore::flushes_subnormals());
  const std::uint64_t before = pitcore::read_mode();  // the multiplication has set sticky bits
  {
    const pitcore::FlushToZero guard;
    CHECK((pitcore::read_mode() & pitcore::flush_bits()) == pitcore::flush_bits());
    CHECK(pitcore::flushes_subnormals());
    {
      const pitcore::FlushToZero inner;
      CHECK(pitcore::flushes_subnormals());
    }
    CHECK(pitcore::flushes_subnormals());
  }
  CHECK(pitcore::read_mode() == before);
  CHECK(!pitcore::flushes_subnormals());
}

TEST(the_guard_leaves_other_threads_alone) {
  // The other thread starts before the guard, since on Arm a new thread inherits its creator's mode.
  std::atomic<int> step{0};
  bool flushed = true;
  std::thread other([&] {
    while (step.load() == 0) std::this_thread::yield();
    flushed = pitcore::flushes_subnormals();
  });
  const pitcore::FlushToZero guard;
  step.store(1);
  other.join();
  CHECK(!flushed);
  CHECK(pitcore::flushes_subnormals());
}
