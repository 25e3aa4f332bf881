"""The drawn belt: cherries, light, faults and the truth that verdicts are compared with."""
