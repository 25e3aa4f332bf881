// pitcore.preprocess._core: the core's Python interface. Only this directory knows Python.
//
// Programming errors raise TypeError or ValueError with the name of the argument. Errors that a frame can cause are
// a Status, for which pitcore.preprocess.prepare raises an error of pitcore/errors.py.
#include "bind.h"
#include "pitcore/image_view.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ core: segmentation, extraction, conversion, flush-to-zero. See _core.pyi.";
  module.attr("INTERFACE") = 4;  // increase it, here and in prepare.py, if Python needs a new function of the core
  module.attr("ALIGNMENT_BYTES") = static_cast<int>(pitcore::alignment_bytes);
  pitcore::bindings::bind_belt(module);
  pitcore::bindings::bind_frame(module);
  pitcore::bindings::bind_convert(module);
  pitcore::bindings::bind_machine(module);
}
