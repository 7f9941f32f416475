"""Malformed and hostile sessions: each ends in time, in one clear sentence, and nothing else happens (R14)."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from engine.sessions.loader import load
from engine.sessions.session import BadSession
from tests.reliability.corpus import make_all

ROOT = Path(__file__).parents[2]


def contain(*args, under=()):
    command = [*under, sys.executable, "-m", "tests.reliability.contain", *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """path -> sentence."""
    return make_all(tmp_path_factory.mktemp("corpus"))


def as_pattern(sentence):
    return re.escape(sentence).replace(r"\{\}", r"\S.*")


def test_every_malformed_session_gives_its_sentence_and_nothing_else_happens(corpus):
    results, _ = contain("files", *corpus)
    assert len(results) == len(corpus) >= 40
    for result in results:
        assert result["how"] == "refused", result
        assert re.fullmatch(as_pattern(corpus[result["name"]]), result["text"]), result
        assert result["text"].isprintable()
        assert len(result["text"]) < 250
        assert result["seconds"] < 10
        # no exec, import, pickle, process or socket, and no file opened but this one
        assert result["events"] == []


def test_the_loader_gives_the_same_sentences(corpus):
    some = (
        "text",
        "pipe",
        "external-link",
        "virtual-of-itself",
        "gzip-bomb-in-a-small-chunk",
        "values-nested",
    )
    for path, sentence in corpus.items():
        if Path(path).stem in some:
            with pytest.raises(BadSession) as caught:
                load(path)
            assert str(caught.value) == sentence


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not there")
def test_no_file_outside_is_opened(corpus, tmp_path):
    """Of the operating system's own log: libhdf5 opens the files that it is given, and no decoy."""
    log = tmp_path / "log"
    under = (
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=open,openat,openat2,connect,execve",
        "-o",
        str(log),
    )
    tried = subprocess.run([*under, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not be used here: {tried.stderr.strip()}")
    results, _ = contain("files", *corpus, under=under)
    assert len(results) == len(corpus)
    calls: dict[str, list[str]] = {}  # process -> its calls
    for line in log.read_text().splitlines():
        process, _, call = line.partition(" ")
        calls.setdefault(process, []).append(call.strip())
    (reader,) = [c for c in calls.values() if any("half.h5" in call for call in c)]
    opened = [name for call in reader for name in re.findall(r'^open\w*\(.*?"([^"]+)"', call)]
    # each but the pipe and the folder: first for its signature, then by libhdf5 if that is right
    ordinary = {
        path for path in corpus if os.path.isfile(path) and not path.endswith("too-large.h5")
    }
    assert set(opened) - {os.devnull} == ordinary
    assert len(opened) > 1.8 * len(ordinary)
    assert not [call for call in reader if call.startswith(("execve", "connect"))]


def mutants(count, seed):
    results, spent = contain("mutants", count, seed)
    assert len(results) == count
    tally = Counter((r["name"].split()[0], r["how"]) for r in results)
    print(f"{count} mutants: {dict(tally)}; {spent.strip()}")
    for r in results:
        # one sentence, or what was saved; a crash, a hang or another exception would be contained too, and counts
        assert r["how"] in ("refused", "same", "differs"), r
        assert r["seconds"] < 10, r
        assert r["events"] == [], r
        if r["how"] == "refused":
            assert r["text"].isprintable() and len(r["text"]) < 250, r
    # what is saved is checksummed down to HDF5's own structures: no change of its bytes goes unnoticed
    assert not [r for r in results if r["how"] == "differs" and r["name"].startswith("new")]
    # and the old format, which has no such checksums, lets mutants through to the parsers behind
    refused = [
        r["text"].partition(":")[2]
        for r in results
        if r["name"].startswith("old") and r["how"] == "refused"
    ]
    assert len({re.sub(r"\d+|/\S+", "", t) for t in refused}) > 25
    assert int(re.search(r"(\d+) MB at most", spent)[1]) < 1536


def test_two_thousand_mutants_are_contained():
    mutants(2_000, 7)


@pytest.mark.long
def test_twenty_thousand_mutants_are_contained():
    mutants(20_000, 8)


def test_the_harness_sees_crashes_hangs_and_wrong_values(tmp_path):
    """The harness itself: readers that fail are told apart, and the others go on."""
    code = """
import ctypes, json, os, sys, time
from tests.reliability import contain as c
from engine.sessions.session import BadSession, Session
def read(path):
    name = os.path.basename(path)
    if name == "crash": ctypes.string_at(0)
    if name == "hang": time.sleep(60)
    if name == "raise": raise KeyError("x")
    if name == "exit": os._exit(3)
    if name == "bad": raise BadSession("bad: no")
    if name == "curious": open(os.devnull).close(); eval("1")
    return Session([], notes=name)
c.read, c.loader.SECONDS = read, 1
sys.addaudithook(c.hook)
names = ["ok", "crash", "wrong", "hang", "raise", "exit", "bad", "curious"]
for r in c.contained([(n, [b"ok", b""]) for n in names]):
    print(json.dumps([r["how"], r["text"], r["events"]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert [how for how, _, _ in got] == [
        "same", "signal", "differs", "late", "error", "error", "refused", "differs",
    ]  # fmt: skip
    assert got[1][1] == "11"
    assert {e.split()[0] for e in got[-1][2]} == {"open", "compile", "exec"}
