// Converts a batch of crops to float32, for models that need it.
#pragma once

#include "pitcore/image_view.h"
#include "pitcore/status.h"

namespace pitcore {

enum class Layout { nhwc, nchw };

// Per plane: value = pixel * scale + offset, in float32, rounded after the product and after the sum.
struct PlaneScale {
  float scale[max_planes];
  float offset[max_planes];
};

// Writes batch.count * size * size * planes floats to `out`, aligned to `alignment_bytes`.
Status to_float(const BatchView& batch, Layout layout, const PlaneScale& scale, float* out) noexcept;

}  // namespace pitcore
