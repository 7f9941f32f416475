"""How a process that trains is set up."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys

import torch

from engine.running import dynamo

KEEP = 1 << 30  # bytes of freed memory that stay with the process


def prepare() -> None:
    """One torch thread (on small networks a second only gets in the way), and freed memory is kept.

    The C library would give a block of more than 128 kB back to the system and fetch it again, page by page, at every
    step: a quarter of the time of a step that draws half a million numbers.
    """
    dynamo.put_off()
    torch.set_num_threads(1)
    yield_memory()
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without it
        return
    for parameter, value in ((-3, 32 << 20), (-1, KEEP)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt(parameter, value)


def yield_memory() -> None:
    """Memory that the machine does not have is refused, with an error that can be told, and if memory runs out all the
    same, the system ends this process before the window's. `LEMMASCOPE_MEMORY` sets the limit, in GB.
    """
    if not sys.platform.startswith("linux"):
        return
    import resource

    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as f:
        f.write("700")
    limit = _limit()
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if limit and not torch.cuda.is_available():  # whose driver reserves far more than it uses
        with contextlib.suppress(ValueError, OSError):
            most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _limit() -> int:
    """Bytes that this process may take: what was told, else what the machine or its container has; 0: unknown."""
    with contextlib.suppress(ValueError):
        told = float(os.environ.get("LEMMASCOPE_MEMORY", "")) * 1e9
        if told > 0 and math.isfinite(told):
            return min(int(told), sys.maxsize)
    found = []
    with contextlib.suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(path) as f:
            found.append(int(f.read()))
    return min(found, default=0)
