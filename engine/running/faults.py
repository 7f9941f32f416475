"""What can go wrong under a training that is not the experiment's doing, in a sentence each that says what can be done."""

from __future__ import annotations

import re

MEMORY = re.compile(
    r"(?:tried to allocate|Unable to allocate) ([\d.]+ ?(?:bytes|[KMGT]i?B)?)", re.IGNORECASE
)
NO_MEMORY = re.compile(r"can't allocate memory|out of memory|Unable to allocate", re.IGNORECASE)
LOST = re.compile(
    r"CUDA error|device-side assert|GPU is lost|fallen off the bus|uncorrectable|driver shutting down"
    r"|no CUDA GPUs are available|CUDA driver|cuDNN error",
    re.IGNORECASE,
)


def told(error: BaseException) -> str:
    """An error as one line for a person."""
    text = str(error).strip()
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        asked = MEMORY.search(text)
        size = f": {_size(asked[1])} were asked for at once" if asked else ""
        return (
            f"there is not enough memory{size}; fewer members, a smaller width or batch need less"
        )
    lines = text.splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no further word'}"[:300]


def device_lost(error: BaseException, device: str) -> str:
    """The sentence for a processor that is no longer there; empty if it is something else."""
    if not device.startswith("cuda") or not isinstance(error, RuntimeError):
        return ""
    text = str(error).strip()
    if NO_MEMORY.search(text) or not LOST.search(text):
        return ""
    return (
        f"{device} does not answer any more ({text.splitlines()[0][:120]}); "
        "a branch from the last checkpoint can go on on the CPU"
    )


def _size(text: str) -> str:
    number, _, unit = text.partition(" ")
    if unit and unit != "bytes":
        return text
    size = float(number)
    for name in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {name}"
        size /= 1000
    return f"{size:.3g} TB"
