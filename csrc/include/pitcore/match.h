// Which things of a frame are things of earlier frames: rectangles on the belt that cover each other.
// Where they are on the belt, and what follows from a match, is the business of pitcore.belt.
#pragma once

#include <cstddef>

namespace pitcore {

// A rectangle on the belt in pixels; ends exclusive.
struct Span {
  double left, right;  // across the belt
  double low, high;    // along it
};

// How much of each other two spans must cover to be one thing. A covering span is wider by the tolerance on every side.
struct MatchRule {
  double tolerance_px = 0.0;
  double share = 0.0;       // of the thing, that the other one covers
  double back_share = 0.0;  // of what is in view of the other one, that the thing covers; 0: any
  double view_low = 0.0, view_high = 0.0;
};

// Writes to matched[i], 0 or 1, whether some other span is one with things[i].
void match(const Span* things, std::size_t count, const Span* others, std::size_t other_count, const MatchRule& rule,
           bool* matched) noexcept;

}  // namespace pitcore
