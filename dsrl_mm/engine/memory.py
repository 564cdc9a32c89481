"""Memory allocation of training on CPUs."""

import ctypes
import sys

# malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Keep freed memory in this process for its next tensors, and return whether the C library supports it.

    The GNU C library returns large blocks to the system, so every training step on a CPU faults the same pages in
    again, which takes about a sixth of its time.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if sys.platform == 'linux' else None
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
