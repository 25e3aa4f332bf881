// Checks of Python arguments. Nothing is converted or copied; each error names the argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pitcore/image_view.h"

namespace pitcore::bindings {

namespace py = pybind11;

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

// The value, else ValueError naming the bounds.
inline std::int32_t require_range(std::int64_t value, const std::string& name, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) {
    throw py::value_error(name + ": expected " + std::to_string(low) + " to " + std::to_string(high) + ", got " +
                          std::to_string(value));
  }
  return static_cast<std::int32_t>(value);
}

// The planes of a frame, borrowed from the arrays that the caller's argument keeps alive.
struct Planes {
  std::vector<ImageView> views;
  FrameView frame() const noexcept { return {views.data(), static_cast<std::int32_t>(views.size())}; }
};

// The argument as an array of this dtype (a NumPy name, such as "uint8"), else TypeError.
py::array require_array(const py::handle& argument, const std::string& name, const char* dtype);

// A (height, width) uint8 view whose rows have adjacent pixels.
ImageView require_plane(const py::handle& argument, const std::string& name, std::int32_t height_px,
                        std::int32_t width_px);

// A sequence of `count` such planes.
Planes require_planes(const py::handle& argument, std::int32_t count, std::int32_t height_px, std::int32_t width_px);

// An array with exactly this shape, C-contiguous.
void require_shape(const py::array& array, const std::string& name, const std::vector<py::ssize_t>& shape);

// A writable array that starts at a multiple of alignment_bytes.
void require_output(const py::array& array, const std::string& name);

// The shape as Python writes it: "(2, 64, 64)".
std::string shape_text(const std::vector<py::ssize_t>& shape);

}  // namespace pitcore::bindings
