// Matches things of a frame with things of earlier frames: rectangles on the belt that cover each other.
// pitcore.belt computes their places on the belt, and decides what follows from a match.
#pragma once

#include <cstddef>

namespace pitcore {

// A rectangle on the belt in pixels; ends exclusive.
struct Span {
  double left, right;  // across the belt
  double low, high;    // along it
};

// How much two spans must cover each other to be one thing. The covering span is widened by the tolerance on all sides.
struct MatchRule {
  double tolerance_px = 0.0;
  double share = 0.0;       // least share of the thing that the other one covers
  double back_share = 0.0;  // least share of the visible part of the other one that the thing covers; 0: any
  double view_low = 0.0, view_high = 0.0;
};

// Writes 1 to matched[i] if some other span matches things[i], else 0.
void match(const Span* things, std::size_t count, const Span* others, std::size_t other_count, const MatchRule& rule,
           bool* matched) noexcept;

}  // namespace pitcore
