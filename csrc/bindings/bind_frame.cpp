// Segmenter and Extractor: from a frame to a batch.
#include <pybind11/native_enum.h>

#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "bind.h"
#include "pitcore/extract.h"
#include "pitcore/observe.h"
#include "pitcore/segment.h"

namespace pitcore::bindings {
namespace {

// After the checks above, a constructor can only lack memory.
void require_memory(Status status) {
  if (status == Status::out_of_memory) throw std::bad_alloc();
  if (status != Status::ok) throw py::value_error(std::string("core: ") + status_name(status));
}

// Objects of the core serve one thread at a time; a second gets an error, not a race.
class Turn {
 public:
  Turn(std::atomic<bool>& busy, const char* what) : busy_(busy) {
    if (busy_.exchange(true)) throw std::runtime_error(std::string(what) + ": in use by another thread; make one each");
  }
  ~Turn() { busy_.store(false); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& busy_;
};

PlaneRule require_rule(const py::handle& item, const std::string& name, std::int32_t height_px, std::int32_t width_px) {
  if (!py::isinstance<py::tuple>(item) || py::len(item) != 4) {
    throw py::type_error(name + ": expected a tuple (background, threshold, polarity, gain)");
  }
  const auto fields = py::reinterpret_borrow<py::tuple>(item);
  PlaneRule rule;
  const std::string background = name + " background";
  if (py::isinstance<py::int_>(fields[0])) {
    rule.level = static_cast<std::uint8_t>(require_range(fields[0].cast<std::int64_t>(), background, 0, 255));
  } else if (const py::array found = require_array(fields[0], background, "uint8"); found.ndim() == 1) {
    require_shape(found, background, {width_px});
    rule.background = {static_cast<const std::uint8_t*>(found.data()), height_px, width_px, 0};
  } else {
    rule.background = require_plane(fields[0], background, height_px, width_px);
  }
  if (!py::isinstance<py::int_>(fields[1])) throw py::type_error(name + " threshold: expected an int");
  const std::string threshold = name + " threshold";
  rule.threshold = static_cast<std::uint8_t>(require_range(fields[1].cast<std::int64_t>(), threshold, 1, 255));
  if (!py::isinstance<py::str>(fields[2])) throw py::type_error(name + " polarity: expected a str");
  const std::string polarity = name + " polarity";
  rule.polarity = choose<Polarity>(fields[2].cast<std::string>(), polarity.c_str(),
                                   {{"bright", Polarity::bright}, {"dark", Polarity::dark}});
  if (!fields[3].is_none()) {
    const py::array gain = require_array(fields[3], name + " gain", "uint16");
    require_shape(gain, name + " gain", {width_px});
    rule.gain = static_cast<const std::uint16_t*>(gain.data());
  }
  return rule;
}

class PySegmenter {
 public:
  PySegmenter(std::pair<std::int64_t, std::int64_t> shape, const py::tuple& rules, const std::string& combine,
              std::int64_t min_area_px, std::pair<std::int64_t, std::int64_t> limits)
      : rules_(rules), core_(read(shape, rules, combine, min_area_px, limits)) {
    require_memory(core_.status());
  }

  Status segment(const py::object& planes, bool whole) {
    const SegmentParams& params = core_.params();
    const Planes views = require_planes(planes, params.planes, params.height_px, params.width_px);
    const Turn turn(busy, "Segmenter");
    const py::gil_scoped_release nogil;
    return whole ? core_.segment_whole(views.frame()) : core_.segment(views.frame());
  }

  // For each plane the level of the empty belt in a row; writes the sums of its cells of cell_px to (P, n) `sums`.
  std::vector<double> measure_row(const py::object& planes, std::int64_t row, std::int64_t cell_px,
                                  const py::object& sums) {
    const SegmentParams& params = core_.params();
    const Planes views = require_planes(planes, params.planes, params.height_px, params.width_px);
    const std::int32_t y = require_range(row, "row", 0, params.height_px - 1);
    const std::int32_t cell = require_range(cell_px, "cell_px", 1, std::min(max_cell_px, params.width_px));
    const std::int32_t count = params.width_px / cell;
    py::array out = require_array(sums, "sums", "uint16");
    require_shape(out, "sums", {params.planes, count});
    if (!out.writeable()) throw py::value_error("sums: must be writable");
    auto* first = static_cast<std::uint16_t*>(out.mutable_data());
    std::vector<double> levels;
    for (const ImageView& plane : views.views) {
      levels.push_back(pitcore::measure_row(plane, y, cell, first));
      first += count;
    }
    return levels;
  }

  // For each plane (area, x, y) of its own foreground in a component's box.
  std::vector<std::tuple<std::int64_t, double, double>> mask_centres(const py::object& planes, std::int64_t index) {
    const SegmentParams& params = core_.params();
    const Planes views = require_planes(planes, params.planes, params.height_px, params.width_px);
    const Turn turn(busy, "Segmenter");
    const std::int32_t wanted = require_range(index, "index", 0, std::int64_t{core_.component_count()} - 1);
    MaskCentre centres[max_planes];
    require_memory(pitcore::mask_centres(core_, views.frame(), wanted, centres));
    std::vector<std::tuple<std::int64_t, double, double>> found;
    for (std::int32_t p = 0; p < params.planes; ++p) found.emplace_back(centres[p].area, centres[p].x, centres[p].y);
    return found;
  }

  const Segmenter& core() const noexcept { return core_; }
  std::atomic<bool> busy{false};

 private:
  static SegmentParams read(std::pair<std::int64_t, std::int64_t> shape, const py::tuple& rules,
                            const std::string& combine, std::int64_t min_area_px,
                            std::pair<std::int64_t, std::int64_t> limits) {
    constexpr std::int64_t most = 1 << 26;
    SegmentParams params;
    params.height_px = require_range(shape.first, "shape[0]", 1, max_side_px);
    params.width_px = require_range(shape.second, "shape[1]", 1, max_side_px);
    params.planes = require_range(static_cast<std::int64_t>(rules.size()), "rules: number of planes", 1, max_planes);
    for (std::int32_t p = 0; p < params.planes; ++p) {
      params.rules[p] = require_rule(rules[static_cast<std::size_t>(p)], "rules[" + std::to_string(p) + "]",
                                     params.height_px, params.width_px);
    }
    params.combine = choose<Combine>(combine, "combine", {{"any", Combine::any}, {"all", Combine::all}});
    params.min_area_px = require_range(min_area_px, "min_area_px", 1, most);
    params.max_runs = require_range(limits.first, "limits[0], max_runs", 1, most);
    params.max_components = require_range(limits.second, "limits[1], max_components", 1, most);
    return params;
  }

  py::tuple rules_;  // keeps backgrounds and gains alive
  Segmenter core_;
};

// A read-only view of the segmenter's own components.
py::array components_of(const py::object& self) {
  const Segmenter& core = self.cast<const PySegmenter&>().core();
  py::array_t<Component> view(static_cast<py::ssize_t>(core.component_count()), core.components(), self);
  py::detail::array_proxy(view.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return view;
}

class PyExtractor {
 public:
  PyExtractor(std::int64_t size_px, const std::string& resize, std::int64_t longest_side_px)
      : core_(require_range(size_px, "size_px", min_crop_px, max_crop_px),
              choose<Resize>(resize, "resize",
                             {{"centre", Resize::centre}, {"shrink", Resize::shrink}, {"fit", Resize::fit}}),
              require_range(longest_side_px, "longest_side_px", 1, max_side_px)),
        longest_side_px_(longest_side_px) {
    require_memory(core_.status());
  }

  void extract(PySegmenter& segmenter, const py::object& planes, const py::object& indices, const py::object& out) {
    const SegmentParams& params = segmenter.core().params();
    require_range(std::max(params.height_px, params.width_px), "segmenter: longest side", 1, longest_side_px_);
    const Planes views = require_planes(planes, params.planes, params.height_px, params.width_px);
    const py::array wanted = require_array(indices, "indices", "int32");
    if (wanted.ndim() != 1) {
      throw py::value_error("indices: expected 1 dimension, got " + std::to_string(wanted.ndim()));
    }
    require_shape(wanted, "indices", {wanted.shape(0)});
    py::array batch = require_array(out, "out", "uint8");
    require_shape(batch, "out", {wanted.shape(0), core_.size_px(), core_.size_px(), params.planes});
    require_output(batch, "out");
    const auto* first = static_cast<const std::int32_t*>(wanted.data());
    const BatchView target{static_cast<std::uint8_t*>(batch.mutable_data()), static_cast<std::int32_t>(wanted.shape(0)),
                           core_.size_px(), params.planes};
    const Turn turn(busy_, "Extractor");
    const Turn segmenter_turn(segmenter.busy, "Segmenter");
    require_indices(first, target.count, segmenter.core().component_count());
    Status status = Status::ok;
    {
      const py::gil_scoped_release nogil;
      status = core_.extract(segmenter.core(), views.frame(), first, target);
    }
    if (status != Status::ok) throw py::value_error(std::string("extract: ") + status_name(status));
  }

 private:
  static void require_indices(const std::int32_t* indices, std::int32_t count, std::int32_t components) {
    for (std::int32_t i = 0; i < count; ++i) {
      if (indices[i] < 0 || indices[i] >= components) {
        throw py::value_error("indices[" + std::to_string(i) + "]: " + std::to_string(indices[i]) +
                              " is not one of the " + std::to_string(components) + " components");
      }
    }
  }

  Extractor core_;
  std::int64_t longest_side_px_;
  std::atomic<bool> busy_{false};
};

}  // namespace

void bind_frame(py::module_& module) {
  PYBIND11_NUMPY_DTYPE(Component, x, y, w, h, area, border, sum_x, sum_y, sum_xx, sum_xy, sum_yy, plane_sum, elongation,
                       ellipse_fill);
  module.attr("component_dtype") = py::dtype::of<Component>();

  py::native_enum<Status>(module, "Status", "enum.IntEnum", "What became of a frame.")
      .value("ok", Status::ok)
      .value("bad_argument", Status::bad_argument)
      .value("out_of_memory", Status::out_of_memory)
      .value("too_many_runs", Status::too_many_runs)
      .value("too_many_components", Status::too_many_components)
      .value("bad_index", Status::bad_index)
      .value("unknown_kernel", Status::unknown_kernel)
      .value("unsupported_kernel", Status::unsupported_kernel)
      .finalize();

  py::class_<PySegmenter>(module, "Segmenter")
      .def(py::init<std::pair<std::int64_t, std::int64_t>, const py::tuple&, const std::string&, std::int64_t,
                    std::pair<std::int64_t, std::int64_t>>(),
           py::arg("shape"), py::arg("rules"), py::arg("combine"), py::arg("min_area_px"), py::arg("limits"))
      .def(
          "segment", [](PySegmenter& self, const py::object& planes) { return self.segment(planes, false); },
          py::arg("planes"))
      .def(
          "segment_whole", [](PySegmenter& self, const py::object& planes) { return self.segment(planes, true); },
          py::arg("planes"))
      .def("measure_row", &PySegmenter::measure_row, py::arg("planes"), py::arg("row"), py::arg("cell_px"),
           py::arg("sums"))
      .def("mask_centres", &PySegmenter::mask_centres, py::arg("planes"), py::arg("index"))
      .def_property_readonly("components", &components_of)
      .def_property_readonly("foreground_px", [](const PySegmenter& self) { return self.core().foreground_px(); })
      .def_property_readonly("specks", [](const PySegmenter& self) { return self.core().specks(); });

  py::class_<PyExtractor>(module, "Extractor")
      .def(py::init<std::int64_t, const std::string&, std::int64_t>(), py::arg("size_px"), py::arg("resize"),
           py::arg("longest_side_px"))
      .def("extract", &PyExtractor::extract, py::arg("segmenter"), py::arg("planes"), py::arg("indices"),
           py::arg("out"));
}

}  // namespace pitcore::bindings
