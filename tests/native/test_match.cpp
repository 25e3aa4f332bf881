#include <limits>
#include <vector>

#include "check.h"
#include "pitcore/match.h"

namespace {

using pitcore::MatchRule;
using pitcore::Span;

bool one(const Span& thing, const std::vector<Span>& others, const MatchRule& rule) {
  bool matched = false;
  pitcore::match(&thing, 1, others.data(), others.size(), rule, &matched);
  return matched;
}

const Span whole{100.0, 160.0, 0.0, 60.0};

}  // namespace

TEST(a_span_within_the_tolerance_is_the_same) {
  const MatchRule rule{8.0, 0.7, 0.35, 0.0, 500.0};
  CHECK(one(whole, {{108.0, 168.0, 8.0, 68.0}}, rule));
  CHECK(!one(whole, {{140.0, 200.0, 0.0, 60.0}}, rule));
  CHECK(!one(whole, {}, rule));
  CHECK(one(whole, {{140.0, 200.0, 0.0, 60.0}, whole}, rule));
}

TEST(a_small_thing_in_the_shadow_of_a_large_one_is_another) {
  const Span small{110.0, 176.0, 50.0, 66.0};
  const Span large{90.0, 170.0, 0.0, 80.0};
  CHECK(one(small, {large}, {8.0, 0.7, 0.0, 0.0, 0.0}));
  CHECK(!one(small, {large}, {8.0, 0.7, 0.35, 0.0, 500.0}));
  // Of the large one only a strip is still in view, and that the small one covers.
  CHECK(one(small, {large}, {8.0, 0.7, 0.35, 68.0, 500.0}));
  // Nothing of it is in view.
  CHECK(!one(small, {large}, {8.0, 0.7, 0.35, 80.0, 500.0}));
}

TEST(what_is_no_number_matches_nothing) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(!one({nan, 160.0, 0.0, 60.0}, {whole}, {8.0, 0.7, 0.0, 0.0, 0.0}));
}
