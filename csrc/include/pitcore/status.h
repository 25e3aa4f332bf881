// The result of every computing function of the core. The core never throws, prints or aborts.
#pragma once

#include <cstdint>

namespace pitcore {

enum class Status : std::int32_t {
  ok = 0,
  // A size, count, range or pointer breaks the function's contract. Nothing was computed.
  bad_argument = 1,
  // A constructor could not allocate its memory. The object cannot be used.
  out_of_memory = 2,
  // The frame has more foreground runs than the segmenter was built for. No component is reported.
  too_many_runs = 3,
  // More components of at least the smallest area than the segmenter was built for. None is reported.
  too_many_components = 4,
  // A component index is not one of the last segmentation. The output is unspecified.
  bad_index = 5,
  // No kernel has this name.
  unknown_kernel = 6,
  // The kernel exists, but this processor cannot run it.
  unsupported_kernel = 7,
};

// A short English name, equal to the enumerator.
const char* status_name(Status status) noexcept;

}  // namespace pitcore
