"""Models over the air: which one to take, how it gets onto the disk, and how the board survives a bad one.

It imports no stage of the frame's way. It shares the model card and the slot directories with ``pitcore.inference``,
and nothing else.
"""
