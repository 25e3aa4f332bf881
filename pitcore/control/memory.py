"""How the C library hands out large blocks: the memory of models that were changed must come back.

ONNX Runtime's weights and scratch memory are blocks of the C library's heap. glibc raises the size from which a block
gets pages of its own as such blocks are freed; after some changes of model all lie in the heap, those of the old model
between those of the new, and cannot go back to the system. ADR 11 has the figures.
"""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3  # <malloc.h> of glibc
LARGE_BYTES = 128 * 1024  # where glibc starts, before it raises that by itself


def keep_large_blocks_apart() -> None:
    """Have blocks of ``LARGE_BYTES`` and more lie in pages of their own, for as long as the process lives.

    A C library that has no such setting is left as it is.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
