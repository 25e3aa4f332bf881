"""From verdicts to valves: when each lane opens, the process that switches the lines, and who may arm it."""
