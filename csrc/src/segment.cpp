#include "pitcore/segment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pitcore/fpenv.h"

namespace pitcore {
namespace {

std::size_t size(std::int32_t count) noexcept { return static_cast<std::size_t>(count); }

// One level a pixel, or one row of them for every row of the frame.
bool is_background(const ImageView& view, std::int32_t height_px, std::int32_t width_px) noexcept {
  if (view.row_stride == 0 && view.height_px == height_px && view.width_px == width_px) return true;
  return has_shape({&view, 1}, height_px, width_px);
}

bool are_valid(const SegmentParams& params) noexcept {
  const auto in = [](std::int32_t value, std::int32_t high) { return value >= 1 && value <= high; };
  if (!in(params.height_px, max_side_px) || !in(params.width_px, max_side_px)) return false;
  if (!in(params.planes, max_planes) || params.min_area_px < 1) return false;
  if (params.max_runs < 1 || params.max_components < 1) return false;
  for (std::int32_t p = 0; p < params.planes; ++p) {
    const PlaneRule& rule = params.rules[p];
    if (rule.threshold < 1) return false;
    if (rule.background.data != nullptr && !is_background(rule.background, params.height_px, params.width_px)) {
      return false;
    }
  }
  return true;
}

// True if a pixel is foreground exactly when it is not zero in some plane.
bool takes_nonzero(const SegmentParams& params) noexcept {
  for (std::int32_t p = 0; p < params.planes; ++p) {
    const PlaneRule& rule = params.rules[p];
    if (rule.background.data != nullptr || rule.gain != nullptr || rule.level != 0 || rule.threshold != 1 ||
        rule.polarity != Polarity::bright) {
      return false;
    }
  }
  return params.combine == Combine::any;
}

// Sum of a run's pixels of one plane, under an even light.
std::int64_t sum_run(const Kernel& kernel, const ImageView& plane, const std::uint16_t* gain, const Run& run) noexcept {
  const std::uint8_t* const pixels = plane.row(run.y);
  if (gain == nullptr) return static_cast<std::int64_t>(kernel.sum_row(pixels + run.first, run.end - run.first));
  std::uint32_t sum = 0;
  for (std::int32_t x = run.first; x < run.end; ++x) sum += corrected(pixels[x], gain[x]);
  return sum;
}

constexpr double pi = 3.14159265358979323846;

// Sum of the squares 0 + 1 + 4 + ... + last^2; 0 for last = -1.
std::int64_t squares_to(std::int64_t last) noexcept { return last * (last + 1) * (2 * last + 1) / 6; }

void start(Component& component, const Run& run) noexcept {
  component = Component{};
  component.x = run.first;
  component.y = run.y;
  component.w = run.end;  // right edge until finish
}

// Adds the run in closed form; its pixels are read only for the plane sums.
void add(Component& component, const Run& run) noexcept {
  const std::int64_t count = run.end - run.first;
  const std::int64_t sum_x = count * (std::int64_t{run.first} + run.end - 1) / 2;
  const std::int64_t y = run.y;
  component.x = std::min(component.x, run.first);
  component.w = std::max(component.w, run.end);
  component.h = run.y + 1;  // bottom edge until finish; runs come by row
  component.area += static_cast<std::int32_t>(count);
  component.sum_x += sum_x;
  component.sum_y += count * y;
  component.sum_xx += squares_to(run.end - 1) - squares_to(std::int64_t{run.first} - 1);
  component.sum_xy += sum_x * y;
  component.sum_yy += count * y * y;
}

void finish(Component& component, const SegmentParams& params) noexcept {
  component.border = (component.x == 0 ? border_left : 0u) | (component.w == params.width_px ? border_right : 0u) |
                     (component.y == 0 ? border_top : 0u) | (component.h == params.height_px ? border_bottom : 0u);
  component.w -= component.x;
  component.h -= component.y;
  // Each pixel is a unit square, hence 1/12. The axes go with the roots of the eigenvalues of the covariance, the
  // ellipse's area is 4 pi sqrt(det covariance). Only + - * / sqrt, uncontracted: equal on all machines.
  const auto mean = [n = static_cast<double>(component.area)](std::int64_t sum) {
    return static_cast<double>(sum) / n;
  };
  const double x = mean(component.sum_x), y = mean(component.sum_y);
  const double xx = mean(component.sum_xx) - x * x + 1.0 / 12.0, yy = mean(component.sum_yy) - y * y + 1.0 / 12.0;
  const double xy = mean(component.sum_xy) - x * y;
  const double half = (xx - yy) / 2.0, spread = std::sqrt(half * half + xy * xy);
  const double major = (xx + yy) / 2.0 + spread, minor = std::max((xx + yy) / 2.0 - spread, 1e-9);
  component.elongation = std::sqrt(major / minor);
  component.ellipse_fill = static_cast<double>(component.area) / (4.0 * pi * std::sqrt(major * minor));
}

}  // namespace

Segmenter::Segmenter(const SegmentParams& params) noexcept
    : params_(params), status_(are_valid(params) ? Status::ok : Status::bad_argument) {
  if (status_ != Status::ok) return;
  bits_ = Buffer<std::uint64_t>(size((params.width_px + 63) / 64));
  found_ = Buffer<Run>(size(params.max_runs));
  grouped_ = Buffer<Run>(size(params.max_runs));
  parent_ = Buffer<std::int32_t>(size(params.max_runs));
  label_ = Buffer<std::int32_t>(size(params.max_runs));
  group_ = Buffer<std::int32_t>(size(params.max_components) + 2);
  components_ = Buffer<Component>(size(params.max_components));
  if (!bits_ || !found_ || !grouped_ || !parent_ || !label_ || !group_ || !components_) {
    status_ = Status::out_of_memory;
  }
}

void Segmenter::clear() noexcept {
  run_count_ = 0;
  component_count_ = 0;
  specks_ = 0;
  foreground_px_ = 0;
}

void Segmenter::mask_row(const FrameView& frame, std::int32_t y) noexcept {
  const Kernel& kernel = active_kernel();
  for (std::int32_t p = 0; p < params_.planes; ++p) {
    const RowRule rule = row_rule(params_.rules[p], frame.planes[p], y, 0);
    const MaskStep step = params_.combine == Combine::any ? MaskStep::either : MaskStep::both;
    kernel.mask_row(rule, params_.width_px, p == 0 ? MaskStep::replace : step, bits_.data());
  }
}

// Appends the runs of the masked row. False if they do not fit.
bool Segmenter::find_runs(std::int32_t y) noexcept {
  const std::int32_t words = (params_.width_px + 63) / 64;
  std::uint64_t carry = 0;  // last pixel of the word before
  std::int32_t first = 0;
  const auto append = [&](std::int32_t end) noexcept {
    if (run_count_ == params_.max_runs) return false;
    found_[size(run_count_++)] = Run{y, first, end};
    foreground_px_ += end - first;
    return true;
  };
  for (std::int32_t i = 0; i < words; ++i) {
    const std::uint64_t word = bits_[size(i)];
    std::uint64_t changes = word ^ (word << 1 | carry);  // where a run starts or has ended
    while (changes != 0) {
      const std::int32_t bit = __builtin_ctzll(changes);
      changes &= changes - 1;
      if ((word >> bit & 1) != 0) {
        first = i * 64 + bit;
      } else if (!append(i * 64 + bit)) {
        return false;
      }
    }
    carry = word >> 63;
  }
  return carry == 0 || append(params_.width_px);
}

// The first run of the component found so far. Halves the path (path halving).
std::int32_t Segmenter::root(std::int32_t run) noexcept {
  while (parent_[size(run)] != run) {
    std::int32_t& parent = parent_[size(run)];
    parent = parent_[size(parent)];
    run = parent;
  }
  return run;
}

// Joins the runs [above, row) of one row with the runs [row, run_count_) of the next wherever they touch.
void Segmenter::join_rows(std::int32_t above, std::int32_t row) noexcept {
  std::int32_t a = above;
  std::int32_t b = row;
  while (a < row && b < run_count_) {
    const Run& upper = found_[size(a)];
    const Run& lower = found_[size(b)];
    if (upper.first <= lower.end && lower.first <= upper.end) {  // corners count
      const std::int32_t root_a = root(a);
      const std::int32_t root_b = root(b);
      parent_[size(std::max(root_a, root_b))] = std::min(root_a, root_b);
    }
    if (upper.end < lower.end) {
      ++a;
    } else {
      ++b;
    }
  }
}

// Numbers the roots that are large enough, in order, and counts the specks.
Status Segmenter::number_components() noexcept {
  for (std::int32_t i = 0; i < run_count_; ++i) {
    const Run& run = found_[size(i)];
    std::int32_t& parent = parent_[size(i)];
    parent = parent_[size(parent)];  // the parent was processed before, so it already points to the root
    if (parent == i) label_[size(i)] = 0;
    label_[size(parent)] += run.end - run.first;
  }
  std::int32_t count = 0;
  for (std::int32_t i = 0; i < run_count_; ++i) {
    if (parent_[size(i)] != i) continue;
    if (label_[size(i)] < params_.min_area_px) {
      label_[size(i)] = -1;
      ++specks_;
    } else if (count == params_.max_components) {
      return Status::too_many_components;
    } else {
      start(components_[size(count)], found_[size(i)]);
      label_[size(i)] = count++;
    }
  }
  component_count_ = count;
  return Status::ok;
}

// Groups the runs by component (a counting sort) and sums up each component.
void Segmenter::measure(const FrameView& frame) noexcept {
  // group_[c + 2] counts; then group_[c + 1] is the place of c's next run, and at the end the end of c's runs.
  std::fill_n(group_.data(), component_count_ + 2, 0);
  const auto component_of = [this](std::int32_t run) { return label_[size(parent_[size(run)])]; };
  for (std::int32_t i = 0; i < run_count_; ++i) {
    const std::int32_t c = component_of(i);
    if (c >= 0) ++group_[size(c + 2)];
  }
  for (std::int32_t c = 2; c < component_count_ + 2; ++c) group_[size(c)] += group_[size(c - 1)];
  const Kernel& kernel = active_kernel();
  for (std::int32_t i = 0; i < run_count_; ++i) {
    const std::int32_t c = component_of(i);
    if (c < 0) continue;
    const Run& run = found_[size(i)];
    grouped_[size(group_[size(c + 1)]++)] = run;
    Component& component = components_[size(c)];
    add(component, run);
    for (std::int32_t p = 0; p < params_.planes; ++p) {
      component.plane_sum[p] += sum_run(kernel, frame.planes[p], params_.rules[p].gain, run);
    }
  }
  for (std::int32_t c = 0; c < component_count_; ++c) finish(components_[size(c)], params_);
}

Status Segmenter::segment(const FrameView& frame) noexcept {
  clear();
  if (status_ != Status::ok) return status_;
  if (frame.count != params_.planes || !has_shape(frame, params_.height_px, params_.width_px)) {
    return Status::bad_argument;
  }
  const FlushToZero guard;
  std::int32_t above = 0;
  for (std::int32_t y = 0; y < params_.height_px; ++y) {
    const std::int32_t row = run_count_;
    mask_row(frame, y);
    if (!find_runs(y)) {
      clear();
      return Status::too_many_runs;
    }
    for (std::int32_t i = row; i < run_count_; ++i) parent_[size(i)] = i;
    join_rows(above, row);
    above = row;
  }
  const Status status = number_components();
  if (status != Status::ok) {
    specks_ = 0;
    return status;
  }
  measure(frame);
  return Status::ok;
}

Status Segmenter::segment_whole(const FrameView& frame) noexcept {
  clear();
  if (status_ != Status::ok) return status_;
  if (frame.count != params_.planes || !has_shape(frame, params_.height_px, params_.width_px) ||
      !takes_nonzero(params_) || params_.max_runs < params_.height_px + (params_.width_px + 1) / 2) {
    return Status::bad_argument;
  }
  const FlushToZero guard;
  const Kernel& kernel = active_kernel();
  Component& whole = components_[0];
  std::int32_t rows = 0;  // one run is kept for each row that has any
  for (std::int32_t y = 0; y < params_.height_px; ++y) {
    mask_row(frame, y);
    run_count_ = rows;
    find_runs(y);  // always fits
    if (run_count_ == rows) continue;
    if (rows == 0) start(whole, found_[0]);
    for (std::int32_t i = rows; i < run_count_; ++i) {
      const Run& run = found_[size(i)];
      add(whole, run);
      for (std::int32_t p = 0; p < params_.planes; ++p) {
        whole.plane_sum[p] += sum_run(kernel, frame.planes[p], nullptr, run);
      }
    }
    grouped_[size(rows)] = Run{y, found_[size(rows)].first, found_[size(run_count_ - 1)].end};
    ++rows;
  }
  run_count_ = rows;
  if (rows == 0) return Status::ok;
  finish(whole, params_);
  component_count_ = 1;
  group_[0] = 0;
  group_[1] = rows;
  return Status::ok;
}

const Run* Segmenter::runs(std::int32_t component, std::int32_t* count) const noexcept {
  const std::int32_t first = group_[size(component)];
  *count = group_[size(component) + 1] - first;
  return grouped_.data() + first;
}

}  // namespace pitcore
