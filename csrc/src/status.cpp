#include "pitcore/status.h"

namespace pitcore {

const char* status_name(Status status) noexcept {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::bad_argument:
      return "bad_argument";
    case Status::out_of_memory:
      return "out_of_memory";
    case Status::too_many_runs:
      return "too_many_runs";
    case Status::too_many_components:
      return "too_many_components";
    case Status::bad_index:
      return "bad_index";
    case Status::unknown_kernel:
      return "unknown_kernel";
    case Status::unsupported_kernel:
      return "unsupported_kernel";
  }
  return "unknown status";
}

}  // namespace pitcore
