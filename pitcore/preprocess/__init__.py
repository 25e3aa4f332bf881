"""From a frame to a batch of crops: find the cherries, cut them out, convert for the model.

The work is in C++ (``_core``, sources in ``csrc/``); ``prepare`` is its Python face. Importing changes no
processor mode and starts no thread. What a crop means is left to ``pitcore.inference`` and ``pitcore.decision``.
"""
