#include "check.h"
#include "pitcore/segment.h"
#include "scene.h"

using pitcore::Component;
using pitcore::FrameView;
using pitcore::Segmenter;
using pitcore::SegmentParams;
using pitcore::Status;

namespace {

// The slow truth: flood fill of a mask from each pixel in turn, 8 neighbours.
struct Flood {
  std::vector<std::int32_t> areas;
  explicit Flood(Plane& plane) {
    const std::int32_t height = plane.view().height_px;
    const std::int32_t width = plane.view().width_px;
    std::vector<bool> seen(static_cast<std::size_t>(height * width));
    for (std::int32_t start = 0; start < height * width; ++start) {
      if (seen[static_cast<std::size_t>(start)] || plane.at(start / width, start % width) == 0) continue;
      std::vector<std::int32_t> stack{start};
      seen[static_cast<std::size_t>(start)] = true;
      std::int32_t area = 0;
      while (!stack.empty()) {
        const std::int32_t y = stack.back() / width;
        const std::int32_t x = stack.back() % width;
        stack.pop_back();
        ++area;
        for (std::int32_t dy = -1; dy <= 1; ++dy) {
          for (std::int32_t dx = -1; dx <= 1; ++dx) {
            const std::int32_t v = y + dy;
            const std::int32_t u = x + dx;
            if (v < 0 || v >= height || u < 0 || u >= width || plane.at(v, u) == 0) continue;
            const auto next = static_cast<std::size_t>(v * width + u);
            if (!seen[next]) stack.push_back(v * width + u);
            seen[next] = true;
          }
        }
      }
      areas.push_back(area);
    }
  }
};

}  // namespace

TEST(components_equal_a_flood_fill_on_random_masks_of_odd_sizes) {
  Random random(1);
  for (int trial = 0; trial < 300; ++trial) {
    Plane plane(static_cast<std::int32_t>(1 + random.below(40)), static_cast<std::int32_t>(1 + random.below(200)),
                static_cast<std::ptrdiff_t>(random.below(5)));
    const std::uint32_t density = 1 + random.below(10);
    for (std::int32_t y = 0; y < plane.view().height_px; ++y) {
      for (std::int32_t x = 0; x < plane.view().width_px; ++x) plane.at(y, x) = random.below(density) == 0 ? 7 : 0;
    }
    Segmenter segmenter(one_plane(plane));
    CHECK(segmenter.segment(plane.frame()) == Status::ok);
    const Flood truth(plane);
    CHECK(segmenter.component_count() == static_cast<std::int32_t>(truth.areas.size()));
    std::int64_t total = 0;
    for (std::int32_t c = 0; c < segmenter.component_count(); ++c) {
      const Component& component = segmenter.components()[c];
      CHECK(component.area == truth.areas[static_cast<std::size_t>(c)]);
      CHECK(component.plane_sum[0] == 7 * component.area);
      total += component.area;
      std::int32_t count = 0;
      const pitcore::Run* runs = segmenter.runs(c, &count);
      std::int32_t area = 0;
      for (std::int32_t i = 0; i < count; ++i) area += runs[i].end - runs[i].first;
      CHECK(area == component.area);
    }
    CHECK(total == segmenter.foreground_px());
  }
}

TEST(too_many_runs_is_reported_and_the_segmenter_still_works) {
  Plane plane(4, 129);
  for (std::int32_t x = 0; x < 129; x += 2) plane.at(2, x) = 255;
  Segmenter segmenter(one_plane(plane, 64));
  CHECK(segmenter.segment(plane.frame()) == Status::too_many_runs);
  CHECK(segmenter.component_count() == 0 && segmenter.foreground_px() == 0);
  plane.at(2, 0) = 0;
  CHECK(segmenter.segment(plane.frame()) == Status::ok);
  CHECK(segmenter.component_count() == 64);
}

TEST(too_many_components_is_reported_and_the_segmenter_still_works) {
  Plane plane(1, 9);
  for (std::int32_t x = 0; x < 9; x += 2) plane.at(0, x) = 255;
  Segmenter segmenter(one_plane(plane, 100, 4));
  CHECK(segmenter.segment(plane.frame()) == Status::too_many_components);
  CHECK(segmenter.component_count() == 0 && segmenter.foreground_px() == 5 && segmenter.specks() == 0);
  plane.at(0, 1) = 255;
  CHECK(segmenter.segment(plane.frame()) == Status::ok);
  CHECK(segmenter.component_count() == 4);
}

TEST(specks_do_not_count_as_components) {
  Plane plane(1, 9);
  for (std::int32_t x = 0; x < 9; x += 2) plane.at(0, x) = 255;
  SegmentParams params = one_plane(plane, 100, 1);
  params.min_area_px = 2;
  Segmenter segmenter(params);
  CHECK(segmenter.segment(plane.frame()) == Status::ok);
  CHECK(segmenter.component_count() == 0 && segmenter.specks() == 5);
}

TEST(sums_of_the_largest_frame_do_not_overflow) {
  Plane plane(pitcore::max_side_px, pitcore::max_side_px);
  fill(plane, 255);
  Segmenter segmenter(one_plane(plane));
  CHECK(segmenter.segment(plane.frame()) == Status::ok);
  const Component& all = segmenter.components()[0];
  const std::int64_t n = pitcore::max_side_px;
  CHECK(all.area == n * n && all.border == 15 && all.w == n && all.h == n);
  CHECK(all.plane_sum[0] == 255 * n * n);
  CHECK(all.sum_x == n * (n * (n - 1) / 2) && all.sum_y == all.sum_x);
  CHECK(all.sum_xx == n * ((n - 1) * n * (2 * n - 1) / 6) && all.sum_yy == all.sum_xx);
  CHECK(all.sum_xy == (n * (n - 1) / 2) * (n * (n - 1) / 2));
}

TEST(a_broken_argument_gives_bad_argument_and_nothing_else) {
  Plane plane(3, 5);
  Plane other(3, 4);
  SegmentParams params = one_plane(plane);
  Segmenter segmenter(params);
  CHECK(segmenter.segment(other.frame()) == Status::bad_argument);
  CHECK(segmenter.segment({nullptr, 1}) == Status::bad_argument);
  CHECK(segmenter.segment({&plane.view(), 0}) == Status::bad_argument);
  pitcore::ImageView backwards = plane.view();
  backwards.row_stride = -5;
  CHECK(segmenter.segment({&backwards, 1}) == Status::bad_argument);
  params.rules[0].threshold = 0;
  CHECK(Segmenter(params).status() == Status::bad_argument);
  CHECK(Segmenter(params).segment(plane.frame()) == Status::bad_argument);
  params = one_plane(plane, 0);
  CHECK(Segmenter(params).status() == Status::bad_argument);
  params = one_plane(plane);
  params.rules[0].background = other.view();
  CHECK(Segmenter(params).status() == Status::bad_argument);
}

TEST(whole_takes_all_pieces_and_keeps_within_its_runs) {
  Plane plane(5, 129);
  for (std::int32_t y = 0; y < 5; y += 2) {
    for (std::int32_t x = 0; x < 129; x += 2) plane.at(y, x) = 1;
  }
  Segmenter segmenter(one_plane(plane, 5 + 65, 1));
  CHECK(segmenter.segment_whole(plane.frame()) == Status::ok);
  CHECK(segmenter.component_count() == 1 && segmenter.components()[0].area == 3 * 65);
  std::int32_t count = 0;
  const pitcore::Run* runs = segmenter.runs(0, &count);
  CHECK(count == 3 && runs[2].y == 4 && runs[2].first == 0 && runs[2].end == 129);
  fill(plane, 0);
  CHECK(segmenter.segment_whole(plane.frame()) == Status::ok);
  CHECK(segmenter.component_count() == 0 && segmenter.foreground_px() == 0);
  Segmenter small(one_plane(plane, 5 + 64, 1));
  CHECK(small.segment_whole(plane.frame()) == Status::bad_argument);
}
