// Finds the cherries of a frame: foreground threshold, 8-connected components, box, area, border flags,
// raw moments and plane sums, in one pass over the pixels and one over the runs. No label image exists.
//
// A run is a stretch of foreground in one row. Runs of neighbouring rows that touch, corners included,
// are joined by union-find; L. He et al., "A run-based two-scan labeling algorithm", 2008.
// extract.h cuts out the pixels; pitcore.decision interprets the components.
#pragma once

#include <cstdint>

#include "pitcore/buffer.h"
#include "pitcore/image_view.h"
#include "pitcore/kernel.h"
#include "pitcore/status.h"

namespace pitcore {

enum class Polarity { bright, dark };
enum class Combine { any, all };  // in how many planes a pixel must stand out

// When a pixel of one plane differs from the belt.
struct PlaneRule {
  // Borrowed while the segmenter exists; data null: `level` everywhere. A row stride of 0 is one row for all rows:
  // a profile across the belt, which stays in the nearest cache.
  ImageView background;
  std::uint8_t level = 0;
  std::uint8_t threshold = 1;  // 1 to 255: bright is pixel - background >= threshold, dark the reverse
  Polarity polarity = Polarity::bright;
  // The flat field: one factor a column, in 1/256, borrowed; null leaves every pixel as it is. It does not change what
  // is foreground; plane sums and crops are of corrected pixels.
  const std::uint16_t* gain = nullptr;
};

// The kernels' input for row `y` of a plane from column `first` on.
inline RowRule row_rule(const PlaneRule& rule, const ImageView& plane, std::int32_t y, std::int32_t first) noexcept {
  RowRule row;
  row.pixels = plane.row(y) + first;
  row.background = rule.background.data != nullptr ? rule.background.row(y) + first : nullptr;
  row.level = rule.level;
  row.threshold = rule.threshold;
  row.dark = rule.polarity == Polarity::dark;
  return row;
}

// The pixel under an even light, rounded half up, at most 255.
inline std::uint8_t corrected(std::uint8_t pixel, std::uint16_t gain) noexcept {
  const std::uint32_t value = (std::uint32_t{pixel} * gain + 128) >> 8;
  return static_cast<std::uint8_t>(value < 255 ? value : 255);
}

struct SegmentParams {
  std::int32_t height_px = 0;
  std::int32_t width_px = 0;
  std::int32_t planes = 0;
  PlaneRule rules[max_planes];
  Combine combine = Combine::any;
  std::int32_t min_area_px = 1;  // smaller components are specks: counted, not reported
  std::int32_t max_runs = 0;
  std::int32_t max_components = 0;
};

enum Border : std::uint32_t { border_left = 1, border_right = 2, border_top = 4, border_bottom = 8 };

// One connected component. The layout is Python's structured dtype; change both together.
struct Component {
  std::int32_t x, y, w, h;                            // bounding box, pixels
  std::int32_t area;                                  // pixels
  std::uint32_t border;                               // edges of the frame that it touches
  std::int64_t sum_x, sum_y, sum_xx, sum_xy, sum_yy;  // over its pixels
  std::int64_t plane_sum[max_planes];                 // grey levels, corrected; 0 past the last plane
  // Of the ellipse with the same second moments: ratio of its axes, at least 1, and the component's area over its.
  double elongation, ellipse_fill;
};

struct Run {
  std::int32_t y, first, end;  // pixels first to end - 1 of row y
};

// Uses only memory that the constructor allocated. One thread at a time.
class Segmenter {
 public:
  explicit Segmenter(const SegmentParams& params) noexcept;

  // ok, bad_argument or out_of_memory: the result of the constructor.
  Status status() const noexcept { return status_; }

  // Replaces the components by those of this frame. After any status but ok there are none.
  Status segment(const FrameView& frame) noexcept;

  // For a crop that is already masked: all pixels that are not zero are one component, even if they are several
  // pieces; there is none if all are zero. Needs exactly these rules: level 0, threshold 1, bright, any; and
  // max_runs >= height + (width + 1) / 2. Ignores min_area_px.
  Status segment_whole(const FrameView& frame) noexcept;

  const SegmentParams& params() const noexcept { return params_; }
  const Component* components() const noexcept { return components_.data(); }
  std::int32_t component_count() const noexcept { return component_count_; }

  // The component's runs, by row and then by column. After segment_whole there is one for each row, gaps included,
  // because pixels there are zero in every plane.
  const Run* runs(std::int32_t component, std::int32_t* count) const noexcept;

  // Of the last frame: all foreground pixels, specks included, and the number of specks. Zero if it
  // failed, but for foreground_px after too_many_components.
  std::int64_t foreground_px() const noexcept { return foreground_px_; }
  std::int32_t specks() const noexcept { return specks_; }

 private:
  void clear() noexcept;
  void mask_row(const FrameView& frame, std::int32_t y) noexcept;
  bool find_runs(std::int32_t y) noexcept;
  void join_rows(std::int32_t above, std::int32_t row) noexcept;
  std::int32_t root(std::int32_t run) noexcept;
  Status number_components() noexcept;
  void measure(const FrameView& frame) noexcept;

  SegmentParams params_;
  Status status_;
  Buffer<std::uint64_t> bits_;   // one row of foreground
  Buffer<Run> found_;            // in order of rows
  Buffer<Run> grouped_;          // by component
  Buffer<std::int32_t> parent_;  // of each run; never larger than the run: a root is its first run
  Buffer<std::int32_t> label_;   // of each root: area, then component number or -1
  Buffer<std::int32_t> group_;   // where each component's runs start in grouped_, and where the last end
  Buffer<Component> components_;
  std::int32_t run_count_ = 0;
  std::int32_t component_count_ = 0;
  std::int32_t specks_ = 0;
  std::int64_t foreground_px_ = 0;
};

}  // namespace pitcore
