"""The set-up script: what it refuses, what it says when something outside is wrong, and that it installs once."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "packaging" / "bootstrap.py"
sys.path.insert(0, str(SCRIPT.parent))

import commands  # noqa: E402
import installing  # noqa: E402
import system  # noqa: E402


def call(*words: str, **kw) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, SCRIPT, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **kw,
    )
    return done.returncode, done.stderr.strip().splitlines()


@pytest.mark.parametrize("words", [["frobnicate"], ["--long"], ["setup", "--fast"]])
def test_wrong_usage_is_one_line_and_status_2(words):
    status, lines = call(*words)
    assert status == 2
    assert len(lines) == 1
    assert words[-1] in lines[0]


def test_help_is_the_page():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True
    )
    assert all(f"bootstrap.py {name}" in done.stdout for name in commands.NAMES)


def test_a_python_that_is_too_old_can_read_the_script():
    """Python 3.4's grammar and Python 2's alike: no annotations, no f-strings, nothing newer than `print_function`."""
    import ast

    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 4))
    for node in ast.walk(tree):
        assert not isinstance(
            node, ast.JoinedStr | ast.AnnAssign | ast.AsyncFunctionDef | ast.NamedExpr
        )
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = {getattr(node, "module", None), *(a.name for a in node.names)}
            assert names & {"os", "subprocess", "sys", "commands"}


def test_an_old_python_is_told_so(monkeypatch, capsys):
    import bootstrap

    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setenv("PATH", "")
    assert bootstrap.main() == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "Python 3.9.2 is not supported" in said[0]
    assert "3.11, 3.12 or 3.13" in said[0]


def test_it_goes_on_with_a_better_python_from_path(tmp_path, monkeypatch):
    import bootstrap

    fake = tmp_path / "python3.12"
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.another_python() == str(fake)
    fake.write_text("#!/bin/sh\nexit 1\n")  # it has no venv module
    assert bootstrap.another_python() is None


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError(: Failed to establish a new connection: "
         "[Errno -3] Temporary failure in name resolution')\nERROR: No matching distribution found for torch==2.13.0",
         "network connection"),
        ("ERROR: No matching distribution found for PySide6-Essentials==6.11.3", "PySide6-Essentials==6.11.3 is not offered"),
        ("Collecting x\nERROR: something new", "something new"),
    ],
)  # fmt: skip
def test_a_failed_installation_is_one_sentence(output, sentence):
    said = installing.cause(output)
    assert sentence in said
    assert "\n" not in said


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The installer with an empty project folder, whose pip is only written down."""
    shutil.copytree(ROOT / "packaging", tmp_path / "packaging")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    venv = tmp_path / ".venv"
    monkeypatch.setattr(installing, "ROOT", tmp_path)
    monkeypatch.setattr(installing, "VENV", venv)
    monkeypatch.setattr(installing, "PYTHON", venv / "bin" / "python")

    def make():
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").touch()

    asked: list[tuple] = []
    monkeypatch.setattr(installing, "make_venv", make)
    monkeypatch.setattr(installing, "pip", lambda *words: asked.append(words))
    return tmp_path, asked


def test_it_installs_once_and_again_when_a_pin_changes(elsewhere):
    folder, asked = elsewhere
    installing.install()
    assert len(asked) == 2
    assert "--no-build-isolation" in asked[1]
    installing.install()
    assert len(asked) == 2
    installing.install("test")
    assert len(asked) == 4
    assert any("requirements-test.txt" in str(w) for w in asked[2])
    pins = folder / "packaging" / "requirements.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    installing.install("test")
    assert len(asked) == 6


def test_it_says_before_a_long_download_that_there_is_no_room(elsewhere, monkeypatch):
    monkeypatch.setattr(
        installing.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 10**9)
    )
    with pytest.raises(installing.Problem, match=r"1\.0 GB are free here, and 2\.5 GB are needed"):
        installing.install()
    assert elsewhere[1] == []


def test_a_missing_venv_module_is_named(monkeypatch, capsys):
    monkeypatch.setattr(installing, "have_venv", lambda: False)
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    with pytest.raises(installing.Problem, match="apt-get install python3-venv"):
        installing.make_venv()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="apt-get is Debian's")
def test_missing_libraries_are_named_in_a_line_to_type(monkeypatch, capsys):
    monkeypatch.setattr(system, "missing", lambda tools: ["libegl1", "libgl1"])
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(system.shutil, "which", lambda name, **kw: f"/usr/bin/{name}")
    system.provide()
    said = capsys.readouterr().err
    assert "as root: apt-get install --yes --no-install-recommends libegl1 libgl1" in said


def test_nothing_is_missing_where_nothing_can_be_known(monkeypatch):
    monkeypatch.setattr(system.shutil, "which", lambda name, **kw: None)  # no ldconfig: musl, NixOS
    assert system.missing() == []


def test_every_part_of_the_test_command_runs_and_the_first_failure_counts(monkeypatch, capsys):
    ran = []

    def run(*command, env=None):
        ran.append(Path(command[0]).stem if "-m" not in command else command[2])
        return {"ruff": 0, "lint-imports": 3, "mypy": 1, "pytest": 5}[ran[-1]]

    monkeypatch.setattr(commands, "install", lambda extra: None)
    monkeypatch.setattr(commands, "provide", lambda tools: None)
    monkeypatch.setattr(commands, "run", run)
    assert commands.test(["-k", "x"]) == 3
    assert ran == ["ruff", "ruff", "lint-imports", "mypy", "pytest"]
    assert capsys.readouterr().err.splitlines()[-1] == "--- tests"  # pytest has the last word


def test_without_a_display_it_runs_first_run_in_the_callers_folder(monkeypatch, tmp_path):
    seen = {}

    def fake(command, **kw):
        seen[str(command[-1])] = kw
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(commands, "install", lambda: None)
    monkeypatch.setattr(commands, "provide", lambda: None)
    monkeypatch.setattr(commands.subprocess, "run", fake)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(system.sys, "platform", "linux")
    assert commands.start([]) == 0
    assert "cwd" not in seen["first-run"]
    monkeypatch.setenv("DISPLAY", ":7")
    commands.start([])
    assert "app" in seen
