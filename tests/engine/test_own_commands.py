"""`lemmascope own`, `new` and `check`."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from engine import strangers
from engine.cli import main
from tests.engine.own_parts import GOOD, put, sha

ROOT = Path(__file__).parents[2]


def call(capsys, *words):
    status = main(list(words))
    got = capsys.readouterr()
    return status, got.out, got.err


def test_from_a_new_file_to_a_claim_that_holds(folder, capsys):
    status, out, _ = call(capsys, "new", "mine")
    path = folder / "mine.py"
    assert status == 0 and str(path) in out
    status, _, err = call(capsys, "new", "mine")
    assert status == 2 and "is there already" in err
    status, out, _ = call(capsys, "check", "mine")
    assert status == 0 and sha(path) in out and "✕" not in out and out.count("✓") == 10, out
    status, out, _ = call(capsys, "own")
    assert status == 0 and f"{path}\n  {sha(path)}\n  off\n" in out
    status, out, err = call(capsys, "own", "allow", "mine")  # no terminal here
    assert status == 2 and f"--hash {sha(path)}" in err and "runs with your rights" in err
    assert not strangers.scan()[0].allowed
    status, _, err = call(capsys, "own", "allow", "mine", "--hash", "0" * 64)
    assert status == 2 and "look at it again" in err
    status, out, _ = call(capsys, "own", "allow", str(path), "--hash", sha(path))
    assert status == 0 and strangers.scan()[0].allowed
    status, out, _ = call(capsys, "own", "--json")
    (one,) = json.loads(out)["experiments"]
    assert one["enabled"] and one["name"] == "own/mine" and not one["problem"]
    put(folder, "broken", "print('noise', flush=True)\n1 / 0\n")
    call(capsys, "own", "allow", "broken", "--hash", sha(folder / "broken.py"))
    status, out, err = call(capsys, "list", "--json")
    assert "own/mine" in {c["name"] for c in json.loads(out)}  # what strangers print is not in it
    assert "broken.py could not be loaded (broken.py, line 2)" in err
    (folder / "broken.py").unlink()
    status, out, _ = call(capsys, "verify", "own/mine")
    assert status == 0 and "3 of 3 verdicts as declared" in out
    status, out, _ = call(capsys, "own", "forbid", "mine")
    assert status == 0 and not strangers.scan()[0].allowed
    status, _, err = call(capsys, "run", "own/mine")
    assert status == 2 and "nobody has enabled" in err and err.count("\n") == 1


def test_a_terminal_is_asked_and_only_yes_enables(folder):
    path = put(folder, "mine", GOOD)
    for answer, ends in (("y\n", 2), ("yes\n", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
        done = subprocess.run(
            [sys.executable, "-m", "engine.cli", "own", "allow", "mine"], cwd=ROOT, stdin=theirs,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        os.close(ours)
        os.close(theirs)
        assert done.returncode == ends, done.stderr
        assert sha(path) in done.stderr and str(path) in done.stderr
        assert strangers.scan()[0].allowed is (ends == 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("own", "allow", "nothing"), "cannot be enabled: it cannot be read: No such file"),
        (("own", "allow"), "own allow needs a FILE"),
        (("own", "allow", "/etc/hostname"), "cannot be enabled: it must be named"),
        (("new", "Bad Name"), "is no name for an experiment"),
        (("check", "nothing"), "cannot be read: No such file"),
    ],
)
def test_wrong_usage_is_one_line(folder, capsys, words, said):
    status, out, err = call(capsys, *words)
    assert status == 2 and said in err and err.count("\n") == 1 and not out


def test_an_enabled_file_outside_the_folder_is_refused(folder, tmp_path, capsys):
    other = tmp_path / "other.py"
    other.write_text(GOOD)
    status, _, err = call(capsys, "own", "allow", str(other), "--hash", sha(other))
    assert status == 2 and f"put it into {folder}" in err
    assert not strangers.enabled().allowed


def test_check_names_what_is_wrong(folder, capsys):
    status, out, _ = call(capsys, "check", str(put(folder, "mine", "import nothing_like_it")))
    assert (
        status == 1 and "✕ it can be loaded: mine.py could not be loaded (mine.py, line 1)" in out
    )
    wrong = GOOD.replace(
        'return {"noise": rng.normal(hp.d)}', 'return {"noise": torch.randn(hp.d)}'
    )
    status, out, _ = call(capsys, "check", str(put(folder, "mine", wrong)), "--json")
    result = json.loads(out)
    assert status == 1 and not result["passed"] and len(result["checks"]) == 10
    assert any(c["wrong"] for c in result["checks"])
    status, out, _ = call(capsys, "check", str(put(folder, "mine", "import os\nos._exit(4)")))
    assert (
        status == 1 and "✕ it can be loaded: loading mine.py ended its process (exit code 4)" in out
    )
    assert not strangers.enabled().allowed, "to check a file enables nothing"
