// pitcore.preprocess._core: the core, as Python sees it. Only this directory knows Python.
//
// Programming errors become TypeError or ValueError and name the argument. What a frame can cause is a
// Status, which pitcore.preprocess.prepare turns into an error of our tree.
#include "bind.h"
#include "pitcore/image_view.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ core: segmentation, extraction, conversion, flush-to-zero. See _core.pyi.";
  module.attr("INTERFACE") = 3;  // raise it, here and in prepare.py, when Python needs what an older build lacks
  module.attr("ALIGNMENT_BYTES") = static_cast<int>(pitcore::alignment_bytes);
  pitcore::bindings::bind_belt(module);
  pitcore::bindings::bind_frame(module);
  pitcore::bindings::bind_convert(module);
  pitcore::bindings::bind_machine(module);
}
