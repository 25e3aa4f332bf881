// Borrowed pixels: a plane of a frame, and a batch of crops. Neither owns memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pitcore {

constexpr std::int32_t max_planes = 4;
// Largest height and width of a frame. Keeps every sum of segment.h within 64 bits and the
// horizontal pass of extract.h within 32.
constexpr std::int32_t max_side_px = 8192;
// Every batch and every buffer of the core is aligned to this: a cache line, and the widest vector.
constexpr std::size_t alignment_bytes = 64;

// One plane of uint8 pixels: the pixels of a row are adjacent, rows are `row_stride` bytes apart.
struct ImageView {
  const std::uint8_t* data = nullptr;
  std::int32_t height_px = 0;
  std::int32_t width_px = 0;
  std::ptrdiff_t row_stride = 0;

  const std::uint8_t* row(std::int32_t y) const noexcept { return data + y * row_stride; }
};

// All planes of one frame, equal in size.
struct FrameView {
  const ImageView* planes = nullptr;
  std::int32_t count = 0;
};

// A contiguous (count, size_px, size_px, planes) batch of uint8, aligned to `alignment_bytes`.
struct BatchView {
  std::uint8_t* data = nullptr;
  std::int32_t count = 0;
  std::int32_t size_px = 0;
  std::int32_t planes = 0;

  std::size_t crop_bytes() const noexcept {
    return static_cast<std::size_t>(size_px) * static_cast<std::size_t>(size_px) * static_cast<std::size_t>(planes);
  }
};

// True if the view is valid: not null, sides in range, rows not overlapping.
bool is_valid(const ImageView& view) noexcept;

// True if the frame has 1 to max_planes valid planes of height x width.
bool has_shape(const FrameView& frame, std::int32_t height_px, std::int32_t width_px) noexcept;

}  // namespace pitcore
