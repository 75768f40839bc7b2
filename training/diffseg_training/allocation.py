"""Memory that a step frees, kept for the next step."""

from __future__ import annotations

import ctypes
import os

# Names and numbers of <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30
_LARGEST = 32 << 20  # as large as the threshold grows by itself on 64 bits


def keep_freed_memory() -> bool:
    """Let glibc keep up to 1 GiB of freed memory, instead of returning it at once.

    Each step takes and frees the same activations. Returned to the system in
    between, every page of them is faulted in and cleared again.

    Returns
    -------
    bool
        False where the C library has no such setting, or where the environment
        has chosen (``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``).
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or os.name != "posix":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    kept = library.mallopt(_TRIM_THRESHOLD, _KEPT)
    return bool(kept and library.mallopt(_MMAP_THRESHOLD, _LARGEST))
