"""Implements the live page: the belt, counts, alarms and camera health in a browser.

``hand_over`` runs in the loop: it copies a frame a few times a second and counts verdicts, and never waits. The rest
runs in a separate process with a low priority (``page_process``): ``board_view`` holds what viewers see, ``tally``
counts over time, ``shifts`` keeps counts across restarts, ``server`` answers browsers, ``guard`` limits what they may
send and take, and ``roles`` knows who may change something.
"""
