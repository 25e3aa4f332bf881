// Cuts components out of a frame: each becomes one crop of a batch, centred, with all pixels zero that are not
// its own.
//
// All arithmetic is on integers and exact: a resized pixel is a weighted sum divided by the sum of its
// weights, rounded half up. Equal input gives equal bytes on every machine.
#pragma once

#include <cstdint>

#include "pitcore/buffer.h"
#include "pitcore/image_view.h"
#include "pitcore/segment.h"
#include "pitcore/status.h"

namespace pitcore {

// How a box of w x h is put into a crop of size S.
//
// centre: each side longer than S loses its ends: it starts at (side - S) / 2.
// shrink: if a side is longer than S, both are averaged down by area, else as centre.
// fit:    both are scaled so that the longer is S, with a triangle filter ("bilinear") whose support
//         grows with the reduction, as Pillow's BILINEAR; Pillow itself rounds each pass to a byte.
//
// A scaled side is (side * S / longer side) rounded half up, at least 1. A side s shorter than S starts at
// (S - s) / 2. Divisions round down.
enum class Resize { centre, shrink, fit };

constexpr std::int32_t min_crop_px = 16;  // smaller ones would overflow the 32 bits of a horizontal sum
constexpr std::int32_t max_crop_px = 1024;

// Uses only memory that the constructor allocated. One thread at a time.
class Extractor {
 public:
  // For crops of size_px x size_px from frames with sides up to longest_side_px.
  Extractor(std::int32_t size_px, Resize resize, std::int32_t longest_side_px) noexcept;

  // ok, bad_argument or out_of_memory: the result of the constructor.
  Status status() const noexcept { return status_; }
  std::int32_t size_px() const noexcept { return size_px_; }

  // Writes component indices[i] of the segmenter's last frame to crop i of `out`, for i < out.count.
  // The frame must have the shape that the segmenter was built for.
  Status extract(const Segmenter& segmenter, const FrameView& frame, const std::int32_t* indices,
                 const BatchView& out) noexcept;

 private:
  // The source pixels that make one target pixel: source first to first + count - 1.
  struct Taps {
    std::int32_t first, count;
    std::int32_t weights;  // index of the first weight
    std::uint32_t total;   // sum of the weights
  };
  // The scaling of one axis.
  struct Axis {
    Buffer<Taps> taps;  // for each target pixel
    Buffer<std::uint32_t> weights;
    std::int32_t target_px = 0;
  };

  // The input: a component, its runs, and the frame with its flat field.
  struct Cut {
    const Component& component;
    const Run* runs;
    std::int32_t run_count;
    const FrameView& frame;
    const PlaneRule* rules;
  };

  void copy(const Cut& cut, std::uint8_t* crop) const noexcept;
  void scale(const Cut& cut, std::uint8_t* crop) noexcept;
  void scale_plane(const Cut& cut, std::int32_t plane) noexcept;
  void add_row(std::int32_t y, std::int32_t* first_target) noexcept;
  void write_plane(std::uint8_t* first, std::int32_t planes) const noexcept;
  void plan_axis(Axis& axis, std::int32_t source_px, std::int32_t target_px) const noexcept;

  std::int32_t size_px_;
  Resize resize_;
  std::int32_t longest_side_px_;
  Status status_;
  Axis x_;
  Axis y_;
  Buffer<std::uint8_t> row_;      // one masked row of the box
  Buffer<std::uint32_t> scaled_;  // that row, scaled in x, not yet divided
  Buffer<std::uint64_t> sums_;    // one crop of one plane, not yet divided
};

}  // namespace pitcore
