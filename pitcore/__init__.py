"""pitcore: finds every cherry in a frame and says clean, maybe, pit or side.

Importing this package loads no native code and changes no processor mode.
"""

__version__ = "0.1.0"
