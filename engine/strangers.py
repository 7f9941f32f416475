"""Users' own experiments before anything of them runs: which files there are, and which the person has enabled.

A file in the folder is code. Here it is only read and hashed; `engine.own` runs it, in worker processes alone, and only
the very bytes whose SHA-256 the person enabled. What is enabled stands in one small file of the user's settings. Whatever
is wrong with that file, nothing counts as enabled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import platformdirs

from engine.messages import Catalogue, Stranger
from engine.sessions import disk

AREA = "own"
LARGEST = 1 << 20  # bytes of one experiment, and of the list of enabled ones
MOST = 200  # files that are looked at
STEM = re.compile(r"[a-z][a-z0-9_]*")
HASH = re.compile(r"[0-9a-f]{64}")
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | disk.BINARY


class Unfit(ValueError):
    """A file that cannot be an experiment of one's own; the text ends a sentence that begins with its name."""


def folder() -> Path:
    """Where users' own experiments lie; `LEMMASCOPE_EXPERIMENTS` moves it."""
    told = os.environ.get("LEMMASCOPE_EXPERIMENTS")
    base = (
        Path(told)
        if told
        else Path(platformdirs.user_data_dir("lemmascope", appauthor=False)) / "experiments"
    )
    return Path(os.path.abspath(base))


def ledger() -> Path:
    """The list of enabled files; `LEMMASCOPE_CONFIG` moves it with the other settings."""
    told = os.environ.get("LEMMASCOPE_CONFIG")
    base = Path(told) if told else Path(platformdirs.user_config_dir("lemmascope", appauthor=False))
    return Path(os.path.abspath(base)) / "own-experiments.json"


def name_of(path: str | Path) -> str:
    return f"{AREA}/{Path(path).stem}"


def is_own(name: str) -> bool:
    return name.startswith(AREA + "/")


def path_of(name: str) -> Path:
    """The file of `own/<stem>`. Raises ValueError for a name that no file can have."""
    stem = name.removeprefix(AREA + "/")
    if not is_own(name) or not STEM.fullmatch(stem):
        raise ValueError(
            f"{name} is no name of an experiment of one's own: {AREA}/ and lower-case letters, "
            "digits and underscores"
        )
    return folder() / f"{stem}.py"


# --- files, read without running or following anything ---


def _bytes(path: str | Path) -> bytes:
    """A regular file's bytes, at most `LARGEST`. A pipe, device or link is refused before it is opened."""
    try:
        kind = os.lstat(path).st_mode
        if stat.S_ISLNK(kind):
            raise Unfit("is a link; put the file itself there")
        if not stat.S_ISREG(kind):
            raise Unfit("is no regular file")
        fd = os.open(path, os.O_RDONLY | _FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Unfit("is no regular file")
            parts, size = [], 0
            while size <= LARGEST and (part := os.read(fd, LARGEST + 1 - size)):
                parts.append(part)
                size += len(part)
        finally:
            os.close(fd)
    except OSError as e:
        raise Unfit(f"cannot be read: {e.strerror or e}") from None
    if size > LARGEST:
        raise Unfit(f"is larger than {LARGEST >> 20} MB")
    return b"".join(parts)


def read(path: str | Path) -> tuple[bytes, str]:
    """A file's bytes and their SHA-256. Raises Unfit."""
    if not STEM.fullmatch(Path(path).stem) or Path(path).suffix != ".py":
        raise Unfit("must be named in lower-case letters, digits and underscores, and end in .py")
    data = _bytes(path)
    return data, hashlib.sha256(data).hexdigest()


# --- what is enabled ---


class Ledger(NamedTuple):
    allowed: dict[str, str]  # absolute path -> SHA-256
    why: str = ""  # the list is damaged, in a sentence: nothing is enabled


def _parsed(data: bytes) -> dict[str, str]:
    held = json.loads(data.decode("utf-8"))
    if not isinstance(held, dict) or set(held) != {"version", "enabled"} or held["version"] != 1:
        raise ValueError("it is not of version 1")
    enabled = held["enabled"]
    if not isinstance(enabled, dict):
        raise ValueError("it names no files")
    for path, sha in enabled.items():
        if not isinstance(sha, str) or not HASH.fullmatch(sha) or not os.path.isabs(path):
            raise ValueError("an entry is no path with its SHA-256")
    return enabled


def enabled() -> Ledger:
    """What the person has enabled. Never raises: a damaged list enables nothing."""
    place = ledger()
    try:
        state = os.lstat(place)
    except FileNotFoundError:
        return Ledger({})
    except OSError as e:
        return _damaged(e.strerror or str(e))
    if sys.platform != "win32" and state.st_uid != os.getuid():
        return _damaged("it belongs to another user")
    if sys.platform != "win32" and stat.S_ISREG(state.st_mode) and state.st_mode & 0o022:
        return _damaged("others may write to it")
    try:
        return Ledger(_parsed(_bytes(place)))
    except Unfit as e:
        return _damaged(f"it {e}")
    except RecursionError:
        return _damaged("it is nested too deeply")
    except (ValueError, TypeError) as e:
        return _damaged(str(e).splitlines()[0][:100])


def _damaged(why: str) -> Ledger:
    return Ledger(
        {},
        f"the list of enabled experiments {ledger()} cannot be relied on ({why}): none is enabled",
    )


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One change of the list at a time, over all processes: a change that is lost might be a withdrawal."""
    place = ledger()
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | disk.BINARY | _FLAGS, 0o600)
    try:
        end = time.monotonic() + 5
        while not disk.lock(fd):
            if time.monotonic() > end:
                raise OSError(None, f"{place} is being written by another process")
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def _write(allowed: dict[str, str]) -> None:
    place = ledger()
    text = json.dumps({"version": 1, "enabled": allowed}, indent=1, sort_keys=True)
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    disk.remove(str(fresh))
    try:
        disk.write_new(str(fresh), text.encode(), 0o600)
        disk.replace(str(fresh), str(place))
        disk.sync_folder(str(place.parent))
    finally:
        disk.remove(str(fresh))


def decide(path: str, sha256: str) -> None:
    """Enables the file at `path` while its bytes have this hash; with an empty hash, withdraws that.

    Raises ValueError in one sentence, also when the file is no longer the one whose hash was shown.
    """
    place = os.path.abspath(path)
    if sha256:
        if not HASH.fullmatch(sha256):
            raise ValueError(f"{sha256[:80]} is no SHA-256: 64 digits from 0 to 9 and a to f")
        if os.path.dirname(place) != str(folder()):
            raise ValueError(f"{path} cannot be enabled: it does not lie in {folder()}")
        try:
            now = read(place)[1]
        except Unfit as e:
            raise ValueError(f"{path} cannot be enabled: it {e}") from None
        if now != sha256:
            raise ValueError(
                f"{path} was not enabled: its SHA-256 is {now}, not {sha256}; look at it again"
            )
    try:
        with _alone():
            allowed = dict(enabled().allowed)
            if sha256:
                allowed[place] = sha256
            else:
                allowed.pop(place, None)
            _write(allowed)
    except OSError as e:
        verb = "enabled" if sha256 else "withdrawn"
        raise ValueError(
            f"{path} was not {verb}: {ledger()} cannot be written ({e.strerror or e})"
        ) from None


def permitted(name: str) -> tuple[Path, bytes, str]:
    """Path, bytes and hash of an enabled experiment. Raises ValueError: not there, off, or changed since."""
    path = path_of(name)
    try:
        data, sha = read(path)
    except Unfit as e:
        if not os.path.lexists(path):
            raise ValueError(
                f"{name} is not installed here: there is no {path}; a run's curves are shown without it"
            ) from None
        raise ValueError(f"{name} is off: {path} {e}") from None
    listed = enabled()
    if listed.allowed.get(str(path)) == sha:
        return path, data, sha
    if listed.why:
        raise ValueError(f"{name} is off: {listed.why}")
    if str(path) in listed.allowed:
        raise ValueError(f"{name} is off: {path} has changed since it was enabled; enable it again")
    raise ValueError(f"{name} is off: {path} is code that nobody has enabled")


def scan() -> tuple[Stranger, ...]:
    """Every file in the folder with its hash and whether it is enabled. Runs nothing."""
    place, listed = folder(), enabled()
    try:
        with os.scandir(place) as entries:
            names = sorted(
                e.name for e in entries if e.name.endswith(".py") and e.name[0] not in "._"
            )
    except FileNotFoundError:
        return ()
    except OSError as e:
        return (Stranger(str(place), "", problem=f"{place} cannot be read: {e.strerror or e}"),)
    found = []
    for name in names[:MOST]:
        path = str(place / name)
        try:
            _, sha = read(path)
        except Unfit as e:
            found.append(Stranger(path, "", problem=f"{name} {e}"))
            continue
        known = listed.allowed.get(path)
        found.append(
            Stranger(path, sha, known == sha, known is not None and known != sha, listed.why)
        )
    if len(names) > MOST:
        found.append(
            Stranger(str(place), "", problem=f"{place} holds {len(names)} files; {MOST} are listed")
        )
    return tuple(found)


def settled(message: Catalogue) -> bool:
    """Whether every enabled experiment has its card or says why it has none."""
    cards = {c.name for c in message.cards}
    return all(s.problem or name_of(s.path) in cards for s in message.strangers if s.allowed)
