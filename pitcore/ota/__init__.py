"""Installs models over the air: chooses one, stores it on the disk, and removes a bad one again.

It imports no stage of the pipeline. It shares the model card and the slot directories with ``pitcore.inference``, and
nothing else.
"""
