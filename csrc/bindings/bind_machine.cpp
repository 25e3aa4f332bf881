// Functions that depend on the processor: floating-point mode and choice of kernels.
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "bind.h"
#include "pitcore/cpu.h"
#include "pitcore/fpenv.h"
#include "pitcore/kernel.h"

namespace pitcore::bindings {
namespace {

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
      throw std::runtime_error(
          "FlushToZero: left on another thread than it was entered on; the mode is a thread's own");
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
  const char* const reason =
      status == Status::unsupported_kernel ? "this processor cannot run '" : "no kernel is called '";
  throw py::value_error("name: " + std::string(reason) + name + "'; known are " + known);
}

}  // namespace

void bind_machine(py::module_& module) {
  module.attr("FLUSH_BITS") = flush_bits();
  py::class_<PyFlushToZero>(module, "FlushToZero")
      .def(py::init<>())
      .def("__enter__",
           [](py::object self) {
             self.cast<PyFlushToZero&>().enter();
             return self;
           })
      .def(
          "__exit__",
          [](PyFlushToZero& self, const py::object&, const py::object&, const py::object&) { self.leave(); },
          py::arg("kind"), py::arg("error"), py::arg("trace"));

  module.def("read_mode", &read_mode);
  module.def("flushes_subnormals", &flushes_subnormals);
  module.def("int8_products_saturate", &int8_products_saturate);
  module.def("kernels", &kernel_names);
  module.def("active_kernel", [] { return active_kernel().name; });
  module.def("force_kernel", &force, py::arg("name"));
}

}  // namespace pitcore::bindings
