#include "pitcore/observe.h"

#include <algorithm>

#include "pitcore/kernel.h"

namespace pitcore {
namespace {

std::size_t size(std::int32_t count) noexcept { return static_cast<std::size_t>(count); }

struct Sums {
  std::int64_t area = 0, x = 0, y = 0;
};

// Adds the foreground of one row of a box that starts at column `left`.
void add_row(const std::uint64_t* bits, std::int32_t words, std::int32_t left, std::int32_t y, Sums* sums) noexcept {
  for (std::int32_t i = 0; i < words; ++i) {
    for (std::uint64_t word = bits[i]; word != 0; word &= word - 1) {
      sums->x += left + i * 64 + __builtin_ctzll(word);
      sums->y += y;
      ++sums->area;
    }
  }
}

}  // namespace

double measure_row(const ImageView& plane, std::int32_t row, std::int32_t cell_px, std::uint16_t* sums) noexcept {
  if (!is_valid(plane) || row < 0 || row >= plane.height_px || cell_px < 1 || cell_px > max_cell_px ||
      cell_px > plane.width_px) {
    return -1.0;
  }
  const Kernel& kernel = active_kernel();
  const std::int32_t count = plane.width_px / cell_px;
  const std::uint8_t* const pixels = plane.row(row);
  std::uint16_t ordered[max_side_px];
  for (std::int32_t i = 0; i < count; ++i) {
    sums[i] = static_cast<std::uint16_t>(kernel.sum_row(pixels + size(i) * size(cell_px), cell_px));
    ordered[i] = sums[i];
  }
  std::uint16_t* const middle = ordered + count / 2;
  std::nth_element(ordered, middle, ordered + count);
  return static_cast<double>(*middle) / cell_px;
}

Status mask_centres(const Segmenter& segmenter, const FrameView& frame, std::int32_t index,
                    MaskCentre* centres) noexcept {
  const SegmentParams& params = segmenter.params();
  if (frame.count != params.planes || !has_shape(frame, params.height_px, params.width_px)) {
    return Status::bad_argument;
  }
  if (index < 0 || index >= segmenter.component_count()) return Status::bad_index;
  const Component& box = segmenter.components()[index];
  const Kernel& kernel = active_kernel();
  std::uint64_t bits[max_side_px / 64];
  for (std::int32_t p = 0; p < params.planes; ++p) {
    Sums sums;
    for (std::int32_t y = box.y; y < box.y + box.h; ++y) {
      kernel.mask_row(row_rule(params.rules[p], frame.planes[p], y, box.x), box.w, MaskStep::replace, bits);
      add_row(bits, (box.w + 63) / 64, box.x, y, &sums);
    }
    const auto area = static_cast<double>(sums.area);
    centres[p] = MaskCentre{};
    if (sums.area > 0) {
      centres[p] = {sums.area, static_cast<double>(sums.x) / area, static_cast<double>(sums.y) / area};
    }
  }
  return Status::ok;
}

}  // namespace pitcore
