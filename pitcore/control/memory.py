"""Sets how the C library allocates large blocks, so that the memory of old models returns to the system.

ONNX Runtime's weights and scratch memory are blocks of the C library's heap. glibc gives a large block its own pages,
but raises that size limit as such blocks are freed. After some changes of model all blocks are in the heap, and those
of the old model cannot return to the system. ADR 11 has the figures.
"""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3  # <malloc.h> of glibc
LARGE_BYTES = 128 * 1024  # where glibc starts, before it raises that by itself


def keep_large_blocks_apart() -> None:
    """Give blocks of ``LARGE_BYTES`` and more their own pages, until the process ends.

    A C library without this setting is not changed.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
