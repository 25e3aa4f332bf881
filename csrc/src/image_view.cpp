#include "pitcore/image_view.h"

namespace pitcore {

bool is_valid(const ImageView& view) noexcept {
  return view.data != nullptr && view.height_px >= 1 && view.height_px <= max_side_px && view.width_px >= 1 &&
         view.width_px <= max_side_px && (view.row_stride >= view.width_px || view.height_px == 1);
}

bool has_shape(const FrameView& frame, std::int32_t height_px, std::int32_t width_px) noexcept {
  if (frame.planes == nullptr || frame.count < 1 || frame.count > max_planes) return false;
  for (std::int32_t p = 0; p < frame.count; ++p) {
    const ImageView& plane = frame.planes[p];
    if (!is_valid(plane) || plane.height_px != height_px || plane.width_px != width_px) return false;
  }
  return true;
}

}  // namespace pitcore
