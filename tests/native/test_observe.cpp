#include <cstring>

#include "check.h"
#include "pitcore/extract.h"
#include "pitcore/observe.h"
#include "scene.h"

using pitcore::Buffer;
using pitcore::MaskCentre;
using pitcore::Segmenter;
using pitcore::SegmentParams;
using pitcore::Status;

TEST(a_row_is_summed_to_its_last_byte_and_no_further) {
  for (const std::int32_t width : {1, 15, 16, 17, 64, 255}) {
    Plane plane(2, width, 3);
    for (std::int32_t x = 0; x < width; ++x) plane.at(1, x) = 7;
    for (const std::int32_t cell : {1, 5, 16}) {
      std::vector<std::uint16_t> sums(static_cast<std::size_t>(width / cell) + 1, 9999);
      const double level = pitcore::measure_row(plane.view(), 1, cell, sums.data());
      if (cell > width) {
        CHECK(level < 0.0 && sums[0] == 9999);
        continue;
      }
      CHECK(level == 7.0);
      CHECK(sums[static_cast<std::size_t>(width / cell) - 1] == 7 * cell);
      CHECK(sums.back() == 9999);
    }
  }
}

TEST(a_row_out_of_bounds_is_refused) {
  Plane plane(2, 300);
  std::uint16_t sum = 1;
  CHECK(pitcore::measure_row(plane.view(), 2, 300, &sum) < 0.0);
  CHECK(pitcore::measure_row(plane.view(), -1, 16, &sum) < 0.0);
  CHECK(pitcore::measure_row(plane.view(), 0, 0, &sum) < 0.0);
  CHECK(pitcore::measure_row(plane.view(), 0, 257, &sum) < 0.0);
  CHECK(pitcore::measure_row({}, 0, 1, &sum) < 0.0);
  CHECK(sum == 1);
}

TEST(each_planes_mask_has_its_own_middle_up_to_the_frames_edges) {
  Plane top(40, 200);
  Plane bottom(40, 200);
  for (std::int32_t y = 30; y < 40; ++y) {
    for (std::int32_t x = 120; x < 200; ++x) top.at(y, x) = 50;
    for (std::int32_t x = 118; x < 198; ++x) bottom.at(y - 1, x) = 50;
  }
  const pitcore::ImageView views[] = {top.view(), bottom.view()};
  const pitcore::FrameView frame{views, 2};
  SegmentParams params = one_plane(top);
  params.planes = 2;
  Segmenter segmenter(params);
  CHECK(segmenter.segment(frame) == Status::ok && segmenter.component_count() == 1);
  MaskCentre centres[2];
  CHECK(pitcore::mask_centres(segmenter, frame, 0, centres) == Status::ok);
  CHECK(centres[0].area == 800 && centres[1].area == 800);
  CHECK(centres[0].x - centres[1].x == 2.0 && centres[0].y - centres[1].y == 1.0);
  CHECK(pitcore::mask_centres(segmenter, frame, 1, centres) == Status::bad_index);
  CHECK(pitcore::mask_centres(segmenter, frame, -1, centres) == Status::bad_index);
  CHECK(pitcore::mask_centres(segmenter, {views, 1}, 0, centres) == Status::bad_argument);
  fill(bottom, 0);
  CHECK(pitcore::mask_centres(segmenter, frame, 0, centres) == Status::ok && centres[1].area == 0);
}

TEST(a_profile_and_a_flat_field_are_read_to_their_last_column_and_no_further) {
  for (const std::int32_t width : {1, 31, 64, 65, 130}) {
    Plane plane(9, width, 1);
    fill(plane, 100);
    Plane profile(1, width);
    const std::unique_ptr<std::uint16_t[]> gain(new std::uint16_t[static_cast<std::size_t>(width)]);
    for (std::int32_t x = 0; x < width; ++x) gain[static_cast<std::size_t>(x)] = 512;
    SegmentParams params = one_plane(plane);
    params.rules[0].background = profile.view();
    params.rules[0].background.height_px = 9;
    params.rules[0].background.row_stride = 0;
    params.rules[0].gain = gain.get();
    Segmenter segmenter(params);
    CHECK(segmenter.segment(plane.frame()) == Status::ok && segmenter.component_count() == 1);
    CHECK(segmenter.components()[0].plane_sum[0] == 200 * 9 * width);
    for (const pitcore::Resize resize : {pitcore::Resize::centre, pitcore::Resize::fit}) {
      pitcore::Extractor extractor(16, resize, 130);
      Buffer<std::uint8_t> bytes(16 * 16);
      const std::int32_t index = 0;
      CHECK(extractor.extract(segmenter, plane.frame(), &index, {bytes.data(), 1, 16, 1}) == Status::ok);
      CHECK(bytes[7 * 16 + 7] == 200);
    }
    CHECK(segmenter.segment_whole(plane.frame()) == Status::bad_argument);
  }
}
