// Measurements of a frame for the line watch: the brightness of the empty belt, and the place of a thing in each
// plane. They take a few microseconds a frame; pitcore.line_watch interprets them.
#pragma once

#include <cstdint>

#include "pitcore/segment.h"

namespace pitcore {

constexpr std::int32_t max_cell_px = 256;  // the sum of as many bytes fits 16 bits

// Sums the row's pixels in cells of `cell_px`, and writes the width_px / cell_px sums; pixels left over at the right
// are ignored. Returns the mean grey level of the median cell, which is that of the empty belt if cherries cover less
// than half of the row. Negative: the row or the size of a cell is out of bounds, and nothing is written.
double measure_row(const ImageView& plane, std::int32_t row, std::int32_t cell_px, std::uint16_t* sums) noexcept;

// One plane's own foreground.
struct MaskCentre {
  std::int64_t area = 0;
  double x = 0.0, y = 0.0;  // its middle, in frame coordinates of pixel centres; 0 if the area is
};

// The foreground of each plane by itself, inside the box of a component of the segmenter's last frame, `centres` for
// every plane. bad_index, bad_argument: nothing is written.
Status mask_centres(const Segmenter& segmenter, const FrameView& frame, std::int32_t index,
                    MaskCentre* centres) noexcept;

}  // namespace pitcore
