"""Where fonts, icons and guides lie: beside the source, or unpacked by a frozen build."""

from __future__ import annotations

import sys
from pathlib import Path


def root() -> Path:
    """The folder `resources/`. A frozen build unpacks it under `sys._MEIPASS`."""
    frozen = getattr(sys, "_MEIPASS", None)
    return Path(frozen) / "resources" if frozen else Path(__file__).parents[1] / "resources"


def path(*parts: str) -> Path:
    """A file of `resources/`. Raises FileNotFoundError naming it, since a bundle may lack it."""
    found = root().joinpath(*parts)
    if not found.exists():
        raise FileNotFoundError(f"{'/'.join(parts)} is not among the resources in {root()}")
    return found
