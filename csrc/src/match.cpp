#include "pitcore/match.h"

#include <algorithm>

namespace pitcore {
namespace {

// True if `other`, widened, covers this share of `thing`; false for a thing without area.
bool covers(const Span& other, const Span& thing, double tolerance_px, double share) noexcept {
  const double across =
      std::min(thing.right, other.right + tolerance_px) - std::max(thing.left, other.left - tolerance_px);
  const double along = std::min(thing.high, other.high + tolerance_px) - std::max(thing.low, other.low - tolerance_px);
  const double shared = std::max(across, 0.0) * std::max(along, 0.0);
  const double area = (thing.right - thing.left) * (thing.high - thing.low);
  return area > 0.0 && shared >= share * area;
}

}  // namespace

void match(const Span* things, std::size_t count, const Span* others, std::size_t other_count, const MatchRule& rule,
           bool* matched) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    matched[i] = std::any_of(others, others + other_count, [&](const Span& other) {
      if (!covers(other, things[i], rule.tolerance_px, rule.share)) return false;
      if (rule.back_share <= 0.0) return true;
      Span in_view = other;
      in_view.low = std::clamp(other.low, rule.view_low, rule.view_high);
      in_view.high = std::clamp(other.high, rule.view_low, rule.view_high);
      return covers(things[i], in_view, rule.tolerance_px, rule.back_share);
    });
  }
}

}  // namespace pitcore
