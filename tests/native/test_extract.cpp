#include <algorithm>
#include <cstring>

#include "check.h"
#include "pitcore/convert.h"
#include "pitcore/extract.h"
#include "scene.h"

using pitcore::BatchView;
using pitcore::Buffer;
using pitcore::Extractor;
using pitcore::Resize;
using pitcore::Segmenter;
using pitcore::Status;

TEST(no_policy_reads_or_writes_outside_on_boxes_of_all_shapes) {
  Random random(2);
  for (int trial = 0; trial < 120; ++trial) {
    const auto height = static_cast<std::int32_t>(1 + random.below(trial % 3 == 0 ? 300 : 60));
    const auto width = static_cast<std::int32_t>(1 + random.below(trial % 4 == 0 ? 300 : 60));
    Plane plane(height, width, trial % 3);
    fill(plane, 200);
    Segmenter segmenter(one_plane(plane));
    CHECK(segmenter.segment(plane.frame()) == Status::ok);
    for (const Resize resize : {Resize::centre, Resize::shrink, Resize::fit}) {
      const auto size = static_cast<std::int32_t>(16 + random.below(20));
      Extractor extractor(size, resize, std::max(height, width));
      Buffer<std::uint8_t> bytes(static_cast<std::size_t>(size * size));
      std::memset(bytes.data(), 9, static_cast<std::size_t>(size * size));
      const std::int32_t index = 0;
      CHECK(extractor.extract(segmenter, plane.frame(), &index, {bytes.data(), 1, size, 1}) == Status::ok);
      // A constant stays constant under any exact average; outside the box it is zero.
      for (std::int32_t i = 0; i < size * size; ++i) {
        CHECK(bytes[static_cast<std::size_t>(i)] == 200 || bytes[static_cast<std::size_t>(i)] == 0);
      }
      CHECK(bytes[static_cast<std::size_t>((size - 1) / 2 * (size + 1))] == 200);
    }
  }
}

TEST(the_longest_box_does_not_overflow_the_sums) {
  Plane plane(3, pitcore::max_side_px);
  fill(plane, 255);
  Segmenter segmenter(one_plane(plane));
  CHECK(segmenter.segment(plane.frame()) == Status::ok);
  for (const Resize resize : {Resize::shrink, Resize::fit}) {
    Extractor extractor(pitcore::min_crop_px, resize, pitcore::max_side_px);
    Buffer<std::uint8_t> bytes(16 * 16);
    const std::int32_t index = 0;
    CHECK(extractor.extract(segmenter, plane.frame(), &index, {bytes.data(), 1, 16, 1}) == Status::ok);
    for (std::size_t x = 0; x < 16; ++x) CHECK(bytes[7 * 16 + x] == 255 && bytes[6 * 16 + x] == 0);
  }
}

TEST(a_broken_argument_is_refused) {
  Plane plane(20, 20);
  plane.at(3, 3) = 1;
  Segmenter segmenter(one_plane(plane));
  CHECK(segmenter.segment(plane.frame()) == Status::ok);
  Buffer<std::uint8_t> bytes(16 * 16 + 1);
  Extractor extractor(16, Resize::fit, 20);
  const std::int32_t indices[] = {0, 1, -1};
  const BatchView one{bytes.data(), 1, 16, 1};
  CHECK(extractor.extract(segmenter, plane.frame(), indices, one) == Status::ok);
  CHECK(extractor.extract(segmenter, plane.frame(), indices + 1, one) == Status::bad_index);
  CHECK(extractor.extract(segmenter, plane.frame(), indices + 2, one) == Status::bad_index);
  CHECK(extractor.extract(segmenter, plane.frame(), nullptr, one) == Status::bad_argument);
  CHECK(extractor.extract(segmenter, plane.frame(), indices, {bytes.data() + 1, 1, 16, 1}) == Status::bad_argument);
  CHECK(extractor.extract(segmenter, plane.frame(), indices, {bytes.data(), 1, 17, 1}) == Status::bad_argument);
  CHECK(extractor.extract(segmenter, plane.frame(), indices, {bytes.data(), 1, 16, 2}) == Status::bad_argument);
  CHECK(extractor.extract(segmenter, plane.frame(), nullptr, {nullptr, 0, 16, 1}) == Status::ok);
  CHECK(Extractor(15, Resize::fit, 20).status() == Status::bad_argument);
  CHECK(Extractor(16, Resize::fit, 0).status() == Status::bad_argument);
  Extractor small(16, Resize::fit, 19);
  CHECK(small.extract(segmenter, plane.frame(), indices, one) == Status::bad_argument);
}

TEST(floats_are_scaled_by_plane_and_laid_out_as_asked) {
  const std::uint8_t pixels[] = {1, 10, 2, 20, 3, 30, 4, 40};  // (1, 2, 2, 2)
  const BatchView batch{const_cast<std::uint8_t*>(pixels), 1, 2, 2};
  const pitcore::PlaneScale scale{{2.0f, 0.5f, 0, 0}, {1.0f, -1.0f, 0, 0}};
  Buffer<float> out(8);
  CHECK(pitcore::to_float(batch, pitcore::Layout::nhwc, scale, out.data()) == Status::ok);
  const float nhwc[] = {3, 4, 5, 9, 7, 14, 9, 19};
  CHECK(std::memcmp(out.data(), nhwc, sizeof nhwc) == 0);
  CHECK(pitcore::to_float(batch, pitcore::Layout::nchw, scale, out.data()) == Status::ok);
  const float nchw[] = {3, 5, 7, 9, 4, 9, 14, 19};
  CHECK(std::memcmp(out.data(), nchw, sizeof nchw) == 0);
  CHECK(pitcore::to_float(batch, pitcore::Layout::nchw, scale, out.data() + 1) == Status::bad_argument);
  CHECK(pitcore::to_float({nullptr, 1, 2, 2}, pitcore::Layout::nchw, scale, out.data()) == Status::bad_argument);
}
