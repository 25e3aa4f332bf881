"""Turns verdicts into openings of valves: schedule, the process that switches the lines, and arming."""
