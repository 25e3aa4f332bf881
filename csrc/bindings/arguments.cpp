#include "arguments.h"

namespace pitcore::bindings {
namespace {

std::vector<py::ssize_t> shape_of(const py::array& array) {
  return std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim());
}

std::string type_name(const py::handle& object) { return py::str(py::type::of(object).attr("__name__")); }

}  // namespace

std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

py::array require_array(const py::handle& argument, const std::string& name, const char* dtype) {
  if (!py::isinstance<py::array>(argument)) {
    throw py::type_error(name + ": expected a NumPy array of " + dtype + ", got " + type_name(argument));
  }
  auto array = py::reinterpret_borrow<py::array>(argument);
  if (!array.dtype().equal(py::dtype(dtype))) {
    throw py::type_error(name + ": expected " + dtype + ", got " + std::string(py::str(array.dtype())));
  }
  return array;
}

ImageView require_plane(const py::handle& argument, const std::string& name, std::int32_t height_px,
                        std::int32_t width_px) {
  const py::array array = require_array(argument, name, "uint8");
  const std::vector<py::ssize_t> expected{height_px, width_px};
  if (shape_of(array) != expected) {
    throw py::value_error(name + ": expected shape " + shape_text(expected) + ", got " + shape_text(shape_of(array)));
  }
  // The stride along a side of 1 has no meaning, and NumPy may give any value.
  if (width_px > 1 && array.strides(1) != 1) {
    throw py::value_error(name + ": pixels of a row must be adjacent (stride 1), got stride " +
                          std::to_string(array.strides(1)) + "; pass a view with whole rows, or a copy");
  }
  if (height_px > 1 && array.strides(0) < width_px) {
    throw py::value_error(name + ": rows must not overlap or run backwards (row stride at least " +
                          std::to_string(width_px) + "), got row stride " + std::to_string(array.strides(0)));
  }
  return {static_cast<const std::uint8_t*>(array.data()), height_px, width_px,
          height_px > 1 ? array.strides(0) : py::ssize_t{width_px}};
}

Planes require_planes(const py::handle& argument, std::int32_t count, std::int32_t height_px, std::int32_t width_px) {
  if (!py::isinstance<py::tuple>(argument) && !py::isinstance<py::list>(argument)) {
    throw py::type_error("planes: expected a tuple or list of (H, W) arrays, got " + type_name(argument));
  }
  const auto items = py::reinterpret_borrow<py::sequence>(argument);
  if (items.size() != static_cast<std::size_t>(count)) {
    throw py::value_error("planes: expected " + std::to_string(count) + ", got " + std::to_string(items.size()));
  }
  Planes planes;
  for (std::size_t p = 0; p < items.size(); ++p) {
    const py::object item = items[p];
    planes.views.push_back(require_plane(item, "planes[" + std::to_string(p) + "]", height_px, width_px));
  }
  return planes;
}

void require_shape(const py::array& array, const std::string& name, const std::vector<py::ssize_t>& shape) {
  if (shape_of(array) != shape) {
    throw py::value_error(name + ": expected shape " + shape_text(shape) + ", got " + shape_text(shape_of(array)));
  }
  if ((array.flags() & py::array::c_style) == 0) throw py::value_error(name + ": must be C-contiguous");
}

void require_output(const py::array& array, const std::string& name) {
  if (!array.writeable()) throw py::value_error(name + ": must be writable");
  if (array.size() > 0 && reinterpret_cast<std::uintptr_t>(array.data()) % alignment_bytes != 0) {
    throw py::value_error(name + ": must start at a multiple of " + std::to_string(alignment_bytes) +
                          " bytes; take it from aligned_batch");
  }
}

}  // namespace pitcore::bindings
