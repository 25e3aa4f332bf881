// The parts of the module; each adds its names.
#pragma once

#include <pybind11/pybind11.h>

namespace pitcore::bindings {

namespace py = pybind11;

void bind_belt(py::module_& module);
void bind_frame(py::module_& module);
void bind_convert(py::module_& module);
void bind_machine(py::module_& module);

}  // namespace pitcore::bindings
