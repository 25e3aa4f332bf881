// to_float.
#include <cmath>

#include "arguments.h"
#include "bind.h"
#include "pitcore/convert.h"

namespace pitcore::bindings {
namespace {

// One number for each plane.
void read_scales(const py::sequence& values, const char* name, std::int32_t planes, float* target) {
  if (values.size() != static_cast<std::size_t>(planes)) {
    throw py::value_error(std::string(name) + ": expected one number for each of the " + std::to_string(planes) +
                          " planes, got " + std::to_string(values.size()));
  }
  for (std::size_t p = 0; p < values.size(); ++p) {
    const std::string item = std::string(name) + "[" + std::to_string(p) + "]";
    try {
      target[p] = static_cast<float>(values[p].cast<double>());
    } catch (const py::cast_error&) {
      throw py::type_error(item + ": expected a number");
    }
    if (!std::isfinite(target[p])) throw py::value_error(item + ": must be finite as float32");
  }
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

}  // namespace

void bind_convert(py::module_& module) {
  module.def("to_float", &convert, py::arg("batch"), py::arg("layout"), py::arg("scale"), py::arg("offset"),
             py::arg("out"));
}

}  // namespace pitcore::bindings
