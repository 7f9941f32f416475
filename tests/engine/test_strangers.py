"""Users' own experiments before they run: found, hashed, enabled; the list of what is enabled may be anything."""

import errno
import hashlib
import json
import os
import re
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import catalogue, own, strangers
from tests.engine.own_parts import GOOD, allow, put, sha

# --- looking without running ---


def test_files_are_listed_with_their_hash_and_nothing_of_them_runs(folder):
    mark = folder / "ran"
    a = put(folder, "a", f"open({str(mark)!r}, 'w')")
    put(folder, "_helper", "")
    (folder / "notes.txt").write_text("no code")
    (found,) = strangers.scan()
    assert found.path == str(a) and found.sha256 == sha(a)
    assert not found.allowed and not found.changed and not found.problem
    allow(a)
    assert strangers.scan()[0].allowed
    with pytest.raises(ValueError, match="worker processes only"):
        catalogue.get("own/a")
    assert "own/a" not in catalogue.load()[0]
    assert not mark.exists()


def test_what_is_no_plain_small_file_is_said_and_not_read(folder, tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_text(GOOD)
    (folder / "link.py").symlink_to(outside)
    (folder / "dangling.py").symlink_to(folder / "nothing")
    (folder / "large.py").write_bytes(b"#" * (strangers.LARGEST + 1))
    (folder / "place.py").mkdir()
    put(folder, "Upper Case", GOOD)
    os.mkfifo(folder / "pipe.py")  # to open it would wait for a writer for ever
    seen = {Path(s.path).stem: s for s in strangers.scan()}
    for stem, why in {
        "link": "link.py is a link",
        "dangling": "dangling.py is a link",
        "large": "large.py is larger than 1 MB",
        "place": "place.py is no regular file",
        "pipe": "pipe.py is no regular file",
        "Upper Case": "Upper Case.py must be named in lower-case letters",
    }.items():
        assert seen[stem].problem.startswith(why) and not seen[stem].allowed, stem
        assert not seen[stem].sha256
    with pytest.raises(ValueError, match="is a link"):
        strangers.decide(str(folder / "link.py"), sha(outside))
    (folder / "exact.py").write_bytes(b"#" * strangers.LARGEST)
    assert {Path(s.path).stem: s for s in strangers.scan()}["exact"].sha256


def test_a_folder_of_too_many_files_and_none_at_all(folder, monkeypatch):
    for i in range(strangers.MOST + 1):
        put(folder, f"a{i}", "")
    found = strangers.scan()
    assert len(found) == strangers.MOST + 1
    assert found[-1].problem.endswith(
        f"holds {strangers.MOST + 1} files; {strangers.MOST} are listed"
    )
    monkeypatch.setenv("LEMMASCOPE_EXPERIMENTS", str(folder / "nowhere"))
    assert strangers.scan() == ()


# --- the list of what is enabled ---


def test_only_the_bytes_that_were_shown_are_enabled(folder, tmp_path):
    path = put(folder, "mine", GOOD)
    shown = sha(path)
    put(folder, "mine", GOOD + "\n# one more line\n")
    with pytest.raises(ValueError, match="look at it again"):
        strangers.decide(str(path), shown)
    assert not strangers.scan()[0].allowed
    allow(path)
    assert strangers.scan()[0].allowed and strangers.permitted("own/mine")[2] == sha(path)
    assert os.stat(strangers.ledger()).st_mode & 0o777 == 0o600
    put(folder, "mine", GOOD)  # even back to what was shown before: that was never enabled
    (found,) = strangers.scan()
    assert found.changed and not found.allowed
    with pytest.raises(ValueError, match="has changed since it was enabled; enable it again"):
        strangers.permitted("own/mine")
    allow(path)
    strangers.decide(str(path), "")
    (found,) = strangers.scan()
    assert not found.changed and not found.allowed
    with pytest.raises(ValueError, match="code that nobody has enabled"):
        strangers.permitted("own/mine")
    other = tmp_path / "other.py"
    other.write_text(GOOD)
    with pytest.raises(ValueError, match="does not lie in"):
        allow(other)
    for wrong in ("0" * 63, "0" * 63 + "g", "A" * 64, "0" * 64 + "\n"):
        with pytest.raises(ValueError, match="is no SHA-256"):
            strangers.decide(str(path), wrong)
    assert not list(strangers.ledger().parent.glob(".*")), "no litter"


@pytest.mark.parametrize("name", ["own/../x", "own/", "own/a/b", "own/A", "own/a.b", "stability/x"])
def test_a_name_leads_nowhere_else(folder, name):
    with pytest.raises(ValueError, match="is no name of an experiment of one's own"):
        strangers.permitted(name)


def test_the_same_bytes_elsewhere_are_not_enabled(folder, tmp_path, monkeypatch):
    allow(put(folder, "mine", GOOD))
    put(folder, "twin", GOOD)
    assert [s.allowed for s in strangers.scan()] == [True, False]
    other = tmp_path / "other"
    other.mkdir()
    put(other, "mine", GOOD)
    monkeypatch.setenv("LEMMASCOPE_EXPERIMENTS", str(other))
    assert [s.allowed for s in strangers.scan()] == [False]


def damage(kind, place):
    good = place.read_bytes()
    place.unlink()
    match kind:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "link":
            (place.parent / "elsewhere").write_bytes(good)
            place.symlink_to(place.parent / "elsewhere")
        case "writable by others":
            place.write_bytes(good)
            place.chmod(0o666)
        case "deep":
            place.write_bytes(b"[" * 100_000)
        case "large":
            place.write_bytes(good + b" " * strangers.LARGEST)
        case "another version":
            place.write_bytes(good.replace(b'"version": 1', b'"version": 2'))
        case "a relative path":
            place.write_bytes(good.replace(b'"/', b'"'))
        case "an entry without a hash":
            place.write_bytes(re.sub(rb"[0-9a-f]{64}", b"yes", good))
        case "cut":
            place.write_bytes(good[:-2])


@pytest.mark.parametrize(
    "kind",
    ["folder", "pipe", "link", "writable by others", "deep", "large", "another version",
     "a relative path", "an entry without a hash", "cut"],
)  # fmt: skip
def test_a_damaged_list_enables_nothing_and_says_so(folder, kind):
    path = put(folder, "mine", GOOD)
    allow(path)
    damage(kind, strangers.ledger())
    (found,) = strangers.scan()
    assert (
        not found.allowed and "cannot be relied on" in found.problem and "\n" not in found.problem
    )
    with pytest.raises(ValueError, match="none is enabled"):
        strangers.permitted("own/mine")
    if kind == "folder":
        with pytest.raises(ValueError, match="cannot be written"):
            allow(path)
        return
    allow(path)
    (found,) = strangers.scan()
    assert found.allowed and not found.problem


def test_a_list_that_cannot_be_written_stays_as_it_was(folder, monkeypatch):
    first, second = put(folder, "first", "1"), put(folder, "second", "2")
    allow(first)
    before = strangers.ledger().read_bytes()

    def fails(path, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("engine.sessions.disk.replace", fails)
    with pytest.raises(ValueError, match=r"was not enabled: .* cannot be written \(No space left"):
        allow(second)
    with pytest.raises(ValueError, match="was not withdrawn"):
        strangers.decide(str(first), "")
    assert strangers.ledger().read_bytes() == before
    assert not list(strangers.ledger().parent.glob(".*")), "no litter"


def mutated(good, data):
    """Some bytes replaced, dropped, doubled, or all made up."""
    kind = data.draw(st.sampled_from(["flip", "cut", "splice", "json", "bytes"]))
    if kind == "bytes":
        return data.draw(st.binary(max_size=400))
    if kind == "json":
        leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
        trees = st.recursive(leaves, lambda c: st.lists(c) | st.dictionaries(st.text(), c))
        value = data.draw(trees)
        wrapped = data.draw(st.sampled_from([value, {"version": 1, "enabled": value}]))
        return json.dumps(wrapped).encode()
    at = data.draw(st.integers(0, len(good) - 1))
    if kind == "flip":
        return good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    other = data.draw(st.integers(0, len(good)))
    return good[:at] if kind == "cut" else good[:at] + good[other:]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_enable_a_file_whose_hash_they_do_not_hold(folder, data):
    path = put(folder, "mine", GOOD)
    place = strangers.ledger()
    place.unlink(missing_ok=True)
    allow(path)
    broken = mutated(place.read_bytes(), data)
    place.write_bytes(broken)
    listed = strangers.enabled()
    assert "\n" not in listed.why and not (listed.why and listed.allowed)
    (found,) = strangers.scan()
    if found.allowed:
        held = json.loads(broken)
        assert held["enabled"][str(path)] == sha(path)
    else:
        with pytest.raises(ValueError, match=r"own/mine is off: .*"):
            strangers.permitted("own/mine")


def test_changes_at_the_same_time_are_all_kept(folder):
    """A change that is lost might be a withdrawal."""
    paths = [put(folder, f"a{i}", f"{i}") for i in range(16)]
    for path in paths[8:]:
        allow(path)
    work = [(p, sha(p)) for p in paths[:8]] + [(p, "") for p in paths[8:]]
    threads = [threading.Thread(target=strangers.decide, args=(str(p), h)) for p, h in work]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [s.allowed for s in strangers.scan()] == [
        int(Path(s.path).stem[1:]) < 8 for s in strangers.scan()
    ]


def test_own_is_no_area_of_a_built_in():
    assert not [n for n in catalogue.load()[0] if strangers.is_own(n)]
    assert not own._here, "this process never executes one"


def test_what_runs_is_what_was_hashed_not_what_lies_there_afterwards(folder, monkeypatch):
    path = put(folder, "mine", GOOD)
    allow(path)
    place, data, hashed = strangers.permitted("own/mine")
    assert hashlib.sha256(data).hexdigest() == hashed == sha(path)
    path.write_text("raise SystemExit('these bytes were never enabled')")
    monkeypatch.setattr(own, "_here", True)
    ex = own.load(place, data)
    assert ex.name == "own/mine" and ex.title == "Noisy gradients stall at a floor"
    assert not (folder / "__pycache__").exists()
