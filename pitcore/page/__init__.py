"""The live page: the belt, counts, alarms and camera health in a browser.

The loop's side is ``hand_over``: it copies a frame now and then and counts verdicts; it never waits. Everything else
runs in a process of its own with a low priority (``page_process``): ``board_view`` is what viewers see, ``tally`` the
counts over time, ``shifts`` what is kept over restarts, ``server`` answers browsers, ``guard`` keeps them within
bounds, ``roles`` says who may change something.
"""
