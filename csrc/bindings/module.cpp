// pitcore.preprocess._core: the core, as Python sees it. The only place, with arrays.cpp, that knows Python.
//
// Programming errors become TypeError or ValueError and name the argument. What a frame can cause is a
// Status, which pitcore.preprocess.prepare turns into an error of our tree.
#include <pybind11/native_enum.h>

#include <atomic>
#include <optional>
#include <thread>

#include "arrays.h"
#include "pitcore/convert.h"
#include "pitcore/extract.h"
#include "pitcore/fpenv.h"
#include "pitcore/kernel.h"
#include "pitcore/segment.h"

namespace pitcore::bindings {
namespace {

// One of the named values, else ValueError listing them.
template <class T, std::size_t N>
T choose(const std::string& value, const char* argument, const std::pair<const char*, T> (&choices)[N]) {
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (value == name) return choice;
    names += std::string(names.empty() ? "'" : ", '") + name + "'";
  }
  throw py::value_error(std::string(argument) + ": expected one of " + names + ", got '" + value + "'");
}

std::int32_t require_range(std::int64_t value, const std::string& name, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) {
    throw py::value_error(name + ": expected " + std::to_string(low) + " to " + std::to_string(high) + ", got " +
                          std::to_string(value));
  }
  return static_cast<std::int32_t>(value);
}

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
  if (!py::isinstance<py::tuple>(item) || py::len(item) != 3) {
    throw py::type_error(name + ": expected a tuple (background, threshold, polarity)");
  }
  const auto fields = py::reinterpret_borrow<py::tuple>(item);
  PlaneRule rule;
  const std::string background = name + " background";
  if (py::isinstance<py::int_>(fields[0])) {
    rule.level = static_cast<std::uint8_t>(require_range(fields[0].cast<std::int64_t>(), background, 0, 255));
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

  py::tuple rules_;  // keeps background images alive
  Segmenter core_;
};

// A read-only view of the segmenter's own components.
py::array components_of(const py::object& self) {
  const Segmenter& core = self.cast<const PySegmenter&>().core();
  py::array_t<Component> view({static_cast<py::ssize_t>(core.component_count())}, core.components(), self);
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
    if (wanted.ndim() != 1) throw py::value_error("indices: expected 1 dimension, got " + std::to_string(wanted.ndim()));
    require_shape(wanted, "indices", {wanted.shape(0)});
    py::array batch = require_array(out, "out", "uint8");
    require_shape(batch, "out", {wanted.shape(0), core_.size_px(), core_.size_px(), params.planes});
    require_output(batch, "out");
    const auto* first = static_cast<const std::int32_t*>(wanted.data());
    const BatchView target{static_cast<std::uint8_t*>(batch.mutable_data()),
                           static_cast<std::int32_t>(wanted.shape(0)), core_.size_px(), params.planes};
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

// One number for each plane.
void read_scales(const py::sequence& values, const char* name, std::int32_t planes, float* target) {
  if (values.size() != static_cast<std::size_t>(planes)) {
    throw py::value_error(std::string(name) + ": expected one number for each of the " + std::to_string(planes) +
                          " planes, got " + std::to_string(values.size()));
  }
  for (std::size_t p = 0; p < values.size(); ++p) target[p] = static_cast<float>(values[p].cast<double>());
}

void convert(const py::object& batch, const std::string& layout, const py::sequence& scale, const py::sequence& offset,
             const py::object& out) {
  const auto order = choose<Layout>(layout, "layout", {{"NHWC", Layout::nhwc}, {"NCHW", Layout::nchw}});
  const py::array in = require_array(batch, "batch", "uint8");
  if (in.ndim() != 4 || in.shape(1) != in.shape(2)) {
    throw py::value_error("batch: expected shape (B, S, S, P), got " +
                          shape_text({in.shape(), in.shape() + in.ndim()}));
  }
  const py::ssize_t count = in.shape(0);
  const py::ssize_t size = require_range(in.shape(1), "batch.shape[1]", 1, max_side_px);
  const py::ssize_t planes = require_range(in.shape(3), "batch.shape[3]", 1, max_planes);
  require_shape(in, "batch", {count, size, size, planes});
  py::array target = require_array(out, "out", "float32");
  if (order == Layout::nhwc) {
    require_shape(target, "out", {count, size, size, planes});
  } else {
    require_shape(target, "out", {count, planes, size, size});
  }
  require_output(target, "out");
  PlaneScale scales{};
  read_scales(scale, "scale", static_cast<std::int32_t>(planes), scales.scale);
  read_scales(offset, "offset", static_cast<std::int32_t>(planes), scales.offset);
  // The core only reads through this view.
  const BatchView view{const_cast<std::uint8_t*>(static_cast<const std::uint8_t*>(in.data())),
                       require_range(count, "batch.shape[0]", 0, 1 << 24), static_cast<std::int32_t>(size),
                       static_cast<std::int32_t>(planes)};
  auto* const floats = static_cast<float*>(target.mutable_data());
  const py::gil_scoped_release nogil;
  to_float(view, order, scales, floats);
}

// The guard of fpenv.h as a context manager.
class PyFlushToZero {
 public:
  void enter() {
    if (saved_) throw std::runtime_error("FlushToZero: entered already; make a new one for each with");
    thread_ = std::this_thread::get_id();
    saved_ = read_mode();
    write_mode(*saved_ | flush_bits());
  }

  void leave() {
    if (!saved_) throw std::runtime_error("FlushToZero: left without having been entered");
    if (thread_ != std::this_thread::get_id()) {
      throw std::runtime_error("FlushToZero: left on another thread than it was entered on; the mode is a thread's own");
    }
    write_mode(*saved_);
    saved_.reset();
  }

 private:
  std::optional<std::uint64_t> saved_;
  std::thread::id thread_;
};

py::tuple kernel_names() {
  std::size_t count = 0;
  const Kernel* const all = kernel_list(&count);
  py::list names;
  for (std::size_t i = 0; i < count; ++i) {
    if (all[i].runs_here()) names.append(all[i].name);
  }
  return py::tuple(names);
}

void force(const std::string& name) {
  const Status status = force_kernel(name.c_str());
  if (status == Status::ok) return;
  std::string known = "auto";
  std::size_t count = 0;
  const Kernel* const all = kernel_list(&count);
  for (std::size_t i = 0; i < count; ++i) known += std::string(", ") + all[i].name;
  const char* const reason = status == Status::unsupported_kernel ? "this processor cannot run '" : "no kernel is called '";
  throw py::value_error("name: " + std::string(reason) + name + "'; known are " + known);
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ core: segmentation, extraction, conversion, flush-to-zero. See _core.pyi.";
  PYBIND11_NUMPY_DTYPE(Component, x, y, w, h, area, border, sum_x, sum_y, sum_xx, sum_xy, sum_yy, plane_sum);
  module.attr("component_dtype") = py::dtype::of<Component>();
  module.attr("ALIGNMENT_BYTES") = static_cast<int>(alignment_bytes);
  module.attr("FLUSH_BITS") = flush_bits();

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
      .def("segment", [](PySegmenter& self, const py::object& planes) { return self.segment(planes, false); },
           py::arg("planes"))
      .def("segment_whole", [](PySegmenter& self, const py::object& planes) { return self.segment(planes, true); },
           py::arg("planes"))
      .def_property_readonly("components", &components_of)
      .def_property_readonly("foreground_px", [](const PySegmenter& self) { return self.core().foreground_px(); })
      .def_property_readonly("specks", [](const PySegmenter& self) { return self.core().specks(); });

  py::class_<PyExtractor>(module, "Extractor")
      .def(py::init<std::int64_t, const std::string&, std::int64_t>(), py::arg("size_px"), py::arg("resize"),
           py::arg("longest_side_px"))
      .def("extract", &PyExtractor::extract, py::arg("segmenter"), py::arg("planes"), py::arg("indices"),
           py::arg("out"));

  py::class_<PyFlushToZero>(module, "FlushToZero")
      .def(py::init<>())
      .def("__enter__", [](py::object self) { self.cast<PyFlushToZero&>().enter(); return self; })
      .def("__exit__", [](PyFlushToZero& self, const py::object&, const py::object&, const py::object&) { self.leave(); },
           py::arg("kind"), py::arg("error"), py::arg("trace"));

  module.def("to_float", &convert, py::arg("batch"), py::arg("layout"), py::arg("scale"), py::arg("offset"),
             py::arg("out"));
  module.def("read_mode", &read_mode);
  module.def("flushes_subnormals", &flushes_subnormals);
  module.def("kernels", &kernel_names);
  module.def("active_kernel", [] { return active_kernel().name; });
  module.def("force_kernel", &force, py::arg("name"));
}

}  // namespace pitcore::bindings
