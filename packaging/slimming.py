"""Takes out of the frozen folder, on Linux, what nothing in it uses: symbols, libraries, languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import icu
import recipe
from system import say


def slim(folder: Path) -> None:
    """Each step, and what it gave."""
    inside = folder / "_internal"
    steps: tuple[tuple[str, Callable[[Path], object]], ...] = (
        ("symbols", strip),
        ("libraries that nothing needs", orphans),
        ("ICU's languages and encodings", languages),
    )
    for what, step in steps:
        before = weight(inside)
        step(inside)
        say(f"  {what}: {(before - weight(inside)) / 1e6:.1f} MB less")


def weight(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def libraries(folder: Path) -> list[Path]:
    return [f for f in folder.rglob("*.so*") if f.is_file() and not f.is_symlink()]


def strip(inside: Path) -> None:
    for file in libraries(inside):
        if recipe.stripped(str(file.relative_to(inside))):
            icu.tool("strip", "--strip-unneeded", str(file))


def orphans(inside: Path) -> list[str]:
    """Removes the system's libraries that only left-out files needed; returns their names.

    PyInstaller puts them beside our packages, and follows a plugin's needs before we leave the plugin out.
    """
    beside = {f.name: f for f in libraries(inside) if f.parent == inside}
    needed = {n for n in beside if n.startswith("libpython")}
    found = [f for f in libraries(inside) if f.parent != inside] + programs(inside)
    todo = [*found, *(beside[n] for n in needed)]
    while todo:
        new = {n for n in needs(todo) if n in beside} - needed
        needed |= new
        todo = [beside[n] for n in new]
    gone = sorted(set(beside) - needed)
    for name in gone:
        beside[name].unlink()
    return gone


def programs(inside: Path) -> list[Path]:
    made = (inside.parent / recipe.NAME, inside / "torch" / "bin" / "torch_shm_manager")
    return [p for p in made if p.is_file()]


def needs(files: Iterable[Path]) -> set[str]:
    """The names of the libraries that the loader will look for."""
    told = icu.tool("readelf", "-d", *map(str, files))
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", told))


def languages(inside: Path) -> None:
    for library in libraries(inside):
        if library.name.startswith("libicudata."):
            icu.shrink(library)
