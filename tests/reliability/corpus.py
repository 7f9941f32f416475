"""Makes malformed and hostile session files, each with the sentence that opening it must give.

    python -m tests.reliability.corpus FOLDER

Most begin as a sound session and are spoilt in one place with h5py, checksums made right again where a hostile
author would. `{}` in a sentence stands for words of libhdf5's own.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from engine.sessions import session
from tests.engine.sessions.streams import plain_run

DAMAGED = "damaged, it cannot be read as HDF5 ({})"
ELSEWHERE = "is a link to somewhere else; a session refers to nothing outside itself"
CHUNKED = "is a chunked or virtual array; only contiguous ones are allowed"
TYPES = "has a type that is not allowed; <f4, <f8, <i4, <i8, |u1 are"
PLAIN = "of a type that is not allowed; int64, float64 and fixed-length text are"
LOSS = "runs/1/metrics/loss/0"
Make = Callable[[Path], None]
CORPUS: dict[str, tuple[Make, str]] = {}


def case(name: str, sentence: str) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        assert name not in CORPUS
        CORPUS[name] = (make, sentence)
        return make

    return keep


def sound(path: Path) -> bytes:
    session.build(path, [plain_run(steps=6)], notes="a note")
    return path.read_bytes()


def spoilt(name: str, sentence: str) -> Callable[[Callable[[h5py.File], Any]], None]:
    """A sound session, spoilt through h5py."""

    def keep(change: Callable[[h5py.File], Any]) -> None:
        def make(path: Path) -> None:
            sound(path)
            with h5py.File(path, "a", libver="v110") as f:
                change(f)

        case(name, sentence)(make)

    return keep


def raw(name: str, sentence: str, change: Callable[[bytes], bytes]) -> None:
    """A sound session's bytes, changed."""
    case(name, sentence)(lambda path: path.write_bytes(change(sound(path))) and None)


def put(f: h5py.Group, name: str, array: Any, **attrs: Any) -> h5py.Dataset:
    """An array in place of what is there, with a checksum that is right."""
    if name in f:
        del f[name]
    dset = f.create_dataset(name, data=array)
    dset.attrs["sha256"] = np.bytes_(hashlib.sha256(np.asarray(array).tobytes()).hexdigest())
    for k, v in attrs.items():
        dset.attrs[k] = v
    return dset


def text(group: Any, name: str, value: str) -> None:
    group.attrs[name] = np.bytes_(value.encode())


def begin(f: h5py.File) -> None:
    """A session with nothing in it."""
    text(f, "format", session.FORMAT)
    f.attrs["major"], f.attrs["minor"] = session.MAJOR, session.MINOR


def make_all(folder: Path) -> dict[str, str]:
    """The files, in `folder`; path -> the sentence. Beside them decoys that nobody may open."""
    for part in ("hostile", "nonsense"):
        importlib.import_module(f"tests.reliability.{part}")
    with h5py.File(folder / "decoy.h5", "w") as f:
        f["secret"] = np.arange(5.0)
    os.mkfifo(folder / "decoy-pipe")
    out = {}
    for name, (make, sentence) in CORPUS.items():
        path = folder / f"{name}.h5"
        make(path)
        out[str(path)] = f"{path.name}: {sentence}"
    return out


if __name__ == "__main__":
    from tests.reliability.corpus import (
        make_all,  # the registry that the parts write to, not __main__'s
    )

    os.makedirs(sys.argv[1], exist_ok=True)
    for path, sentence in make_all(Path(sys.argv[1])).items():
        print(f"{path}\t{sentence}")
