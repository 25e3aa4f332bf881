// Built with -ffp-contract=off: a fused multiply-add would round once, and only on machines that have it.
#include "pitcore/convert.h"

#include "pitcore/fpenv.h"

namespace pitcore {
namespace {

bool is_aligned(const void* pointer) noexcept {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignment_bytes == 0;
}

// Strides count elements.
struct Stride {
  std::size_t in, out;
};

void convert_plane(const std::uint8_t* in, float* out, std::size_t count, Stride stride, float scale,
                   float offset) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    out[i * stride.out] = static_cast<float>(in[i * stride.in]) * scale + offset;
  }
}

}  // namespace

Status to_float(const BatchView& batch, Layout layout, const PlaneScale& scale, float* out) noexcept {
  if (batch.count < 0 || batch.size_px < 1 || batch.planes < 1 || batch.planes > max_planes) {
    return Status::bad_argument;
  }
  if (batch.count == 0) return Status::ok;
  if (batch.data == nullptr || out == nullptr || !is_aligned(out)) return Status::bad_argument;
  const FlushToZero guard;
  const auto planes = static_cast<std::size_t>(batch.planes);
  const auto crops = static_cast<std::size_t>(batch.count);
  const std::size_t pixels = batch.crop_bytes() / planes;
  for (std::size_t p = 0; p < planes; ++p) {
    if (layout == Layout::nhwc) {
      convert_plane(batch.data + p, out + p, crops * pixels, {planes, planes}, scale.scale[p], scale.offset[p]);
      continue;
    }
    for (std::size_t i = 0; i < crops; ++i) {
      const std::uint8_t* const crop = batch.data + i * batch.crop_bytes();
      float* const target = out + (i * planes + p) * pixels;
      convert_plane(crop + p, target, pixels, {planes, 1}, scale.scale[p], scale.offset[p]);
    }
  }
  return Status::ok;
}

}  // namespace pitcore
