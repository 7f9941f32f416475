"""How a process that trains is set up."""

from __future__ import annotations

import ctypes
import sys

import torch

KEEP = 1 << 30  # bytes of freed memory that stay with the process


def prepare() -> None:
    """One torch thread (on small networks a second only gets in the way), and freed memory is kept.

    The C library would give a block of more than 128 kB back to the system and fetch it again, page by page, at every
    step: a quarter of the time of a step that draws half a million numbers.
    """
    torch.set_num_threads(1)
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without it
        return
    for parameter, value in ((-3, 32 << 20), (-1, KEEP)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt(parameter, value)
