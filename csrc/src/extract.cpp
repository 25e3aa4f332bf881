#include "pitcore/extract.h"

#include <algorithm>
#include <cstring>

#include "pitcore/fpenv.h"

namespace pitcore {
namespace {

std::size_t size(std::int32_t count) noexcept { return static_cast<std::size_t>(count); }

bool is_aligned(const void* pointer) noexcept {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignment_bytes == 0;
}

std::int32_t scaled_side(std::int32_t side, std::int32_t size_px, std::int32_t longer) noexcept {
  return std::max(1, (2 * side * size_px + longer) / (2 * longer));  // at most 2 * 8192 * 1024
}

// Source pixel `source` covers [source, source + 1) * target_px, target pixel `target` covers
// [target, target + 1) * source_px, in units of 1 / target_px: their overlap.
std::int64_t area_weight(std::int64_t source, std::int64_t target, std::int64_t source_px,
                         std::int64_t target_px) noexcept {
  const std::int64_t from = std::max(source * target_px, target * source_px);
  const std::int64_t to = std::min((source + 1) * target_px, (target + 1) * source_px);
  return to - from;
}

// A triangle around the target pixel's centre, in units of 1 / (2 * target_px) source pixels. Its half width is
// one target pixel when reducing, one source pixel when enlarging.
std::int64_t triangle_weight(std::int64_t source, std::int64_t target, std::int64_t source_px,
                             std::int64_t target_px) noexcept {
  const std::int64_t distance = (2 * source + 1) * target_px - (2 * target + 1) * source_px;
  return 2 * std::max(source_px, target_px) - (distance < 0 ? -distance : distance);
}

}  // namespace

Extractor::Extractor(std::int32_t size_px, Resize resize, std::int32_t longest_side_px) noexcept
    : size_px_(size_px), resize_(resize), longest_side_px_(longest_side_px), status_(Status::ok) {
  if (size_px < min_crop_px || size_px > max_crop_px || longest_side_px < 1 || longest_side_px > max_side_px) {
    status_ = Status::bad_argument;
    return;
  }
  if (resize == Resize::centre) return;  // needs no memory
  // A target pixel has at most 2 * max(source / target, 1) + 2 taps.
  const std::size_t most_weights = 2 * size(std::max(longest_side_px, size_px)) + 2 * size(size_px);
  for (Axis* axis : {&x_, &y_}) {
    axis->taps = Buffer<Taps>(size(size_px));
    axis->weights = Buffer<std::uint32_t>(most_weights);
    if (!axis->taps || !axis->weights) status_ = Status::out_of_memory;
  }
  row_ = Buffer<std::uint8_t>(size(longest_side_px));
  scaled_ = Buffer<std::uint32_t>(size(size_px));
  sums_ = Buffer<std::uint64_t>(size(size_px) * size(size_px));
  if (!row_ || !scaled_ || !sums_) status_ = Status::out_of_memory;
}

Status Extractor::extract(const Segmenter& segmenter, const FrameView& frame, const std::int32_t* indices,
                          const BatchView& out) noexcept {
  if (status_ != Status::ok) return status_;
  const SegmentParams& params = segmenter.params();
  if (frame.count != params.planes || !has_shape(frame, params.height_px, params.width_px) ||
      std::max(params.height_px, params.width_px) > longest_side_px_ || out.count < 0 || out.size_px != size_px_ ||
      out.planes != frame.count) {
    return Status::bad_argument;
  }
  if (out.count == 0) return Status::ok;
  if (indices == nullptr || out.data == nullptr || !is_aligned(out.data)) return Status::bad_argument;
  const FlushToZero guard;
  std::uint8_t* crop = out.data;
  for (std::int32_t i = 0; i < out.count; ++i, crop += out.crop_bytes()) {
    const std::int32_t index = indices[i];
    if (index < 0 || index >= segmenter.component_count()) return Status::bad_index;
    const Component& component = segmenter.components()[index];
    std::int32_t run_count = 0;
    const Run* const runs = segmenter.runs(index, &run_count);
    const Cut cut{component, runs, run_count, frame, params.rules};
    const std::int32_t longer = std::max(component.w, component.h);
    std::memset(crop, 0, out.crop_bytes());
    if (resize_ == Resize::centre || longer == size_px_ || (resize_ == Resize::shrink && longer < size_px_)) {
      copy(cut, crop);
    } else {
      scale(cut, crop);
    }
  }
  return Status::ok;
}

void Extractor::copy(const Cut& cut, std::uint8_t* crop) const noexcept {
  // Frame pixel (x, y) goes to crop pixel (x - left, y - top). Of a longer side (w - S) / 2 pixels go first.
  const auto origin = [this](std::int32_t start, std::int32_t side) {
    return side <= size_px_ ? start - (size_px_ - side) / 2 : start + (side - size_px_) / 2;
  };
  const std::int32_t left = origin(cut.component.x, cut.component.w);
  const std::int32_t top = origin(cut.component.y, cut.component.h);
  const std::size_t planes = size(cut.frame.count);
  for (std::int32_t i = 0; i < cut.run_count; ++i) {
    const Run& run = cut.runs[i];
    const std::int32_t row = run.y - top;
    const std::int32_t first = std::max(run.first - left, 0);
    const std::int32_t end = std::min(run.end - left, size_px_);
    if (row < 0 || row >= size_px_ || first >= end) continue;
    std::uint8_t* const target = crop + (size(row) * size(size_px_) + size(first)) * planes;
    const std::size_t count = size(end - first);
    for (std::size_t p = 0; p < planes; ++p) {
      const std::uint8_t* const source = cut.frame.planes[p].row(run.y) + (left + first);
      const std::uint16_t* const gain = cut.rules[p].gain;
      if (gain != nullptr) {
        for (std::size_t x = 0; x < count; ++x) {
          target[x * planes + p] = corrected(source[x], gain[size(left + first) + x]);
        }
      } else if (planes == 1) {
        std::memcpy(target, source, count);
      } else {
        for (std::size_t x = 0; x < count; ++x) target[x * planes + p] = source[x];
      }
    }
  }
}

void Extractor::plan_axis(Axis& axis, std::int32_t source_px, std::int32_t target_px) const noexcept {
  const auto weight = resize_ == Resize::fit ? triangle_weight : area_weight;
  axis.target_px = target_px;
  std::int32_t used = 0;
  for (std::int32_t target = 0; target < target_px; ++target) {
    // Weights are positive on one stretch, which contains the centre and moves right with the target.
    const auto centre = static_cast<std::int32_t>((2 * std::int64_t{target} + 1) * source_px / (2 * target_px));
    std::int32_t first = std::min(centre, source_px - 1);
    while (first > 0 && weight(first - 1, target, source_px, target_px) > 0) --first;
    Taps taps{first, 0, used, 0};
    for (std::int32_t source = first; source < source_px; ++source) {
      const std::int64_t value = weight(source, target, source_px, target_px);
      if (value <= 0) break;
      axis.weights[size(used++)] = static_cast<std::uint32_t>(value);
      taps.total += static_cast<std::uint32_t>(value);
      ++taps.count;
    }
    axis.taps[size(target)] = taps;
  }
}

void Extractor::scale(const Cut& cut, std::uint8_t* crop) noexcept {
  const Component& component = cut.component;
  const std::int32_t longer = std::max(component.w, component.h);
  const std::int32_t width = scaled_side(component.w, size_px_, longer);
  const std::int32_t height = scaled_side(component.h, size_px_, longer);
  plan_axis(x_, component.w, width);
  plan_axis(y_, component.h, height);
  const std::int32_t left = (size_px_ - width) / 2;
  const std::int32_t top = (size_px_ - height) / 2;
  const std::size_t corner = size(top) * size(size_px_) + size(left);
  for (std::int32_t p = 0; p < cut.frame.count; ++p) {
    scale_plane(cut, p);
    write_plane(crop + corner * size(cut.frame.count) + size(p), cut.frame.count);
  }
}

// Sums one plane of the component into sums_, row by row of the source.
void Extractor::scale_plane(const Cut& cut, std::int32_t plane) noexcept {
  const Component& component = cut.component;
  const Run* const runs = cut.runs;
  const std::uint16_t* const gain = cut.rules[plane].gain;
  std::fill_n(sums_.data(), size(x_.target_px) * size(y_.target_px), std::uint64_t{0});
  std::int32_t first_target = 0;
  for (std::int32_t i = 0; i < cut.run_count;) {
    const std::int32_t y = runs[i].y;
    const std::uint8_t* const pixels_of_row = cut.frame.planes[plane].row(y);
    std::memset(row_.data(), 0, size(component.w));
    for (; i < cut.run_count && runs[i].y == y; ++i) {
      const std::int32_t first = runs[i].first;
      std::uint8_t* const target = row_.data() + (first - component.x);
      // copies: the borrowed frame must not be masked, so the run's pixels are copied between zeros.
      std::memcpy(target, pixels_of_row + first, size(runs[i].end - first));
      if (gain == nullptr) continue;
      for (std::int32_t x = first; x < runs[i].end; ++x) target[x - first] = corrected(target[x - first], gain[x]);
    }
    for (std::int32_t target = 0; target < x_.target_px; ++target) {
      const Taps& taps = x_.taps[size(target)];
      const std::uint8_t* const pixels = row_.data() + taps.first;
      const std::uint32_t* const weights = x_.weights.data() + taps.weights;
      std::uint32_t sum = 0;
      for (std::int32_t t = 0; t < taps.count; ++t) sum += pixels[t] * weights[t];
      scaled_[size(target)] = sum;
    }
    add_row(y - component.y, &first_target);
  }
}

// Adds the scaled row, row `y` of the box, to every target row it is part of. Targets before *first_target
// ended above y.
void Extractor::add_row(std::int32_t y, std::int32_t* first_target) noexcept {
  const auto end_of = [this](std::int32_t target) { return y_.taps[size(target)].first + y_.taps[size(target)].count; };
  while (*first_target < y_.target_px && end_of(*first_target) <= y) ++*first_target;
  for (std::int32_t target = *first_target; target < y_.target_px; ++target) {
    const Taps& taps = y_.taps[size(target)];
    if (taps.first > y) break;
    const std::uint64_t weight = y_.weights[size(taps.weights + y - taps.first)];
    std::uint64_t* const sums = sums_.data() + size(target) * size(x_.target_px);
    for (std::int32_t x = 0; x < x_.target_px; ++x) sums[x] += weight * scaled_[size(x)];
  }
}

// Divides sums_ by the weights and writes it; `first` is the crop's byte for the top left pixel.
void Extractor::write_plane(std::uint8_t* first, std::int32_t planes) const noexcept {
  const std::uint64_t* sum = sums_.data();
  for (std::int32_t y = 0; y < y_.target_px; ++y) {
    std::uint8_t* target = first + size(y) * size(size_px_) * size(planes);
    const std::uint64_t row_total = y_.taps[size(y)].total;
    for (std::int32_t x = 0; x < x_.target_px; ++x, ++sum, target += planes) {
      if (*sum == 0) continue;  // most masked pixels; the crop is already zero
      const std::uint64_t total = row_total * x_.taps[size(x)].total;
      *target = static_cast<std::uint8_t>((*sum + total / 2) / total);
    }
  }
}

}  // namespace pitcore
