// Frames for the tests. Every plane is allocated to its last byte, so that a sanitizer sees a read past it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "pitcore/image_view.h"
#include "pitcore/segment.h"

// Numbers that are the same everywhere: Knuth's MMIX generator.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint32_t below(std::uint32_t limit) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>((state_ >> 33) % limit);
  }

 private:
  std::uint64_t state_;
};

class Plane {
 public:
  Plane(std::int32_t height_px, std::int32_t width_px, std::ptrdiff_t gap = 0)
      : view_{nullptr, height_px, width_px, width_px + gap},
        bytes_(new std::uint8_t[static_cast<std::size_t>((height_px - 1) * view_.row_stride + width_px)]()) {
    view_.data = bytes_.get();
  }
  std::uint8_t& at(std::int32_t y, std::int32_t x) {
    return bytes_[static_cast<std::size_t>(y * view_.row_stride + x)];
  }
  const pitcore::ImageView& view() const { return view_; }
  pitcore::FrameView frame() const { return {&view_, 1}; }

 private:
  pitcore::ImageView view_;
  std::unique_ptr<std::uint8_t[]> bytes_;
};

inline pitcore::SegmentParams one_plane(const Plane& plane, std::int32_t max_runs = 10000,
                                        std::int32_t max_components = 1000) {
  pitcore::SegmentParams params;
  params.height_px = plane.view().height_px;
  params.width_px = plane.view().width_px;
  params.planes = 1;
  params.max_runs = max_runs;
  params.max_components = max_components;
  return params;
}

inline void fill(Plane& plane, std::uint8_t value) {
  for (std::int32_t y = 0; y < plane.view().height_px; ++y) {
    for (std::int32_t x = 0; x < plane.view().width_px; ++x) plane.at(y, x) = value;
  }
}
