// Matching of spans on the belt.
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "bind.h"
#include "pitcore/match.h"

namespace pitcore::bindings {
namespace {

using Spans = std::vector<std::array<double, 4>>;

std::vector<Span> spans_of(const Spans& spans) {
  std::vector<Span> found;
  found.reserve(spans.size());
  for (const auto& [left, right, low, high] : spans) found.push_back({left, right, low, high});
  return found;
}

py::list matched(const Spans& things, const Spans& others, double tolerance_px, double share,
                 std::optional<std::tuple<double, double, double>> back) {
  MatchRule rule{tolerance_px, share, 0.0, 0.0, 0.0};
  if (back) std::tie(rule.back_share, rule.view_low, rule.view_high) = *back;
  const std::vector<Span> first = spans_of(things), second = spans_of(others);
  const auto flags = std::make_unique<bool[]>(first.size());
  match(first.data(), first.size(), second.data(), second.size(), rule, flags.get());
  py::list found(first.size());
  for (std::size_t i = 0; i < first.size(); ++i) found[i] = py::bool_(flags[i]);
  return found;
}

}  // namespace

void bind_belt(py::module_& module) {
  module.def("matched", &matched, py::arg("things"), py::arg("others"), py::arg("tolerance_px"), py::arg("share"),
             py::arg("back") = std::nullopt);
}

}  // namespace pitcore::bindings
