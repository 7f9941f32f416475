"""The project as a whole: rooms, directions of import, one version, what the README promises, pinned packages."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from engine import cli
from engine.version import VERSION

ROOT = Path(__file__).parents[1]
ROOMS = ("desktop", "engine", "packaging", "resources", "tests")
BESIDE = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"}
LINES = {"tests": 650}  # a test file holds all that is said of one subject
MOST = 500  # elsewhere; the aim is 400

# Written so that this file does not hold what it looks for: places of one machine, hosts of package registries.
FORBIDDEN = re.compile(
    r"(?<![\w.~-])/(?:work|root)/|\bpy"
    r"pi\.org|python"
    r"hosted|\bnpm"
    r"js\.(?:org|com)|anaconda"
    r"\.org"
)


@cache
def files() -> tuple[Path, ...]:
    """All that belongs to the project, built and cached things left out."""
    skipped = {"__pycache__", "build", "dist"}
    found = [p for p in ROOT.iterdir() if p.name in BESIDE]
    for room in (*ROOMS, ".ci"):
        for p in (ROOT / room).rglob("*"):
            if p.is_file() and not skipped & set(p.parts) and p.suffix != ".pyc":
                found.append(p)
    return tuple(found)


def texts(suffixes: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Path and content of every text file."""
    out = []
    for p in files():
        if suffixes and p.suffix not in suffixes:
            continue
        try:
            out.append((str(p.relative_to(ROOT)), p.read_text("utf-8")))
        except UnicodeDecodeError:
            assert p.suffix not in (".py", ".md", ".toml", ".txt"), p
    return out


def test_import_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("blocked", "imports"),
    [
        (("torch",), "desktop"),
        (("PySide6", "pyqtgraph", "qasync", "desktop"), "engine"),
    ],
)
def test_a_half_loads_without_the_other_halfs_library(blocked, imports):
    """Contracts read source; this one runs it, late imports at module level included."""
    probe = f"""
import importlib, pkgutil, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
package = importlib.import_module({imports!r})
names = [i.name for i in pkgutil.walk_packages(package.__path__, {imports + "."!r})]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 10


def test_only_the_rooms_stand_at_the_top():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout, so what is built here cannot be told from what belongs")
    top = {name.partition("/")[0] for name in listed.stdout.splitlines()}
    assert {t for t in top if not t.startswith(".")} == {*ROOMS, *BESIDE}


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_says_what_lives_there(room):
    page = (ROOT / room / "README.md").read_text("utf-8")
    assert page.startswith(f"# {room}\n")
    assert 5 <= len(page.splitlines()) <= 70


def test_packaging_hides_no_library():
    """Either file would hide the library `packaging` from whatever runs in this folder."""
    for folder in (ROOT, ROOT / "packaging", ROOT / "tests" / "packaging"):
        assert not (folder / "packaging.py").exists()
    for folder in (ROOT / "packaging", ROOT / "tests" / "packaging"):
        assert not (folder / "__init__.py").exists()


def test_no_file_is_long():
    long = {
        name: n
        for name, t in texts((".py",))
        if (n := t.count("\n")) > LINES.get(name.split("/")[0], MOST)
    }
    assert not long, f"too many lines: {long}"


def test_nothing_names_one_machine_or_a_registry():
    found = [
        f"{name}: {line.strip()[:120]}"
        for name, text in texts()
        for line in text.splitlines()
        if FORBIDDEN.search(line)
    ]
    assert not found


def test_the_version_stands_in_one_place():
    may = {"engine/version.py", "CHANGELOG.md"}
    holds = {name for name, text in texts((".py", ".toml", ".md", ".iss", ".spec", ".plist"))
             if re.search(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])", text)}  # fmt: skip
    holds = {name for name in holds if not name.startswith("tests/")}  # made-up messages hold one
    assert holds <= may
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in declared["project"]
    assert declared["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "engine.version.VERSION"


def test_the_changelog_knows_this_version():
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert VERSION in [h for h in headings if h != "Unreleased"][:1]


README = (ROOT / "README.md").read_text("utf-8")


def subparsers():
    (action,) = (a for a in cli.parser()._actions if a.dest == "command")
    return action.choices


def test_the_readmes_table_is_the_command_line():
    rows = re.findall(r"^\| `(?:lemmascope )?([^`]+)` \|", README, re.M)
    named = {row.split()[0].strip("[]"): row for row in rows}
    assert set(named) == set(cli.COMMANDS)
    known = subparsers()
    for command, row in named.items():
        options = {o for a in known[command]._actions for o in a.option_strings}
        assert set(re.findall(r"--[a-z-]+", row)) <= options, row


def test_the_readmes_examples_parse():
    from engine import catalogue

    lines = re.findall(r"^    (\.venv/bin/lemmascope|lemmascope) (.+)$", README, re.M)
    assert len(lines) >= 5
    for _, words in lines:
        args = cli.parser().parse_args(words.partition("#")[0].split())
        name = getattr(args, "name", None)
        if name is not None:
            knobs = {k.name for k in catalogue.get(name).hyper.knobs()}
            assert {s.partition("=")[0] for s in getattr(args, "set", [])} <= knobs


def test_continuous_integration_runs_the_readmes_command():
    command = "python3 packaging/bootstrap.py test"
    assert f"\n    {command}\n" in README
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert script[-1].removesuffix(" 2>&1") == command


def imported(room: str) -> set[str]:
    names = set()
    for name, text in texts((".py",)):
        if name.startswith(f"{room}/"):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    names |= {a.name.partition(".")[0] for a in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add(str(node.module).partition(".")[0])
    scripts = {p.stem for p in (ROOT / "packaging").glob("*.py")}
    return names - set(sys.stdlib_module_names) - {"engine", "desktop", "tests"} - scripts


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / "packaging" / name).read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines), "exact pins only"
    return dict(line.split("==") for line in lines)


PACKAGE_OF = {"PySide6": "PySide6-Essentials", "markdown_it": "markdown-it-py"}


def test_what_is_imported_is_pinned_and_declared():
    pins = pinned("requirements.txt")
    used = {PACKAGE_OF.get(n, n) for n in imported("engine") | imported("desktop")}
    assert used <= set(pins)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.match(r"[\w-]+", d).group() for d in declared}
    assert used - {"shiboken6"} <= names  # PySide6 brings it
    assert names <= set(pins)
    tests = {"pytest", "hypothesis"} | {n for n in imported("tests") if n not in ("jax",)}
    tests = {PACKAGE_OF.get(n, n) for n in tests}
    assert tests <= {*pins, *pinned("requirements-test.txt")}


def test_pyside_stays_below_6_12():
    pins = pinned("requirements.txt")
    assert tuple(map(int, pins["PySide6-Essentials"].split("."))) < (6, 12)
    assert pins["shiboken6"] == pins["PySide6-Essentials"]
