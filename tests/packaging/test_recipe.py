"""The bundle's recipe, without building it: whatever the program needs is in it, and a new experiment cannot be forgotten."""

import configparser
import pkgutil
import plistlib
import re
import stat
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from engine import catalogue, experiments
from engine.version import VERSION

ROOT = Path(__file__).parents[2]
# As the real ones do: a cache in the folder that is named, and nothing without one.
FAKE_TOOL = """#!/bin/sh
[ $# = 1 ] && [ -d "$1" ] || { echo "Usage: one folder" >&2; exit 1; }
case $0 in *mime*) touch "$1/mime.cache" "$1/globs2";; *) touch "$1/mimeinfo.cache";; esac
"""
HERE = ROOT / "packaging"
sys.path.insert(0, str(HERE))
import bundle  # noqa: E402
import recipe  # noqa: E402


def test_every_experiment_and_command_is_named():
    named = set(recipe.modules())
    found = {i.name for i in pkgutil.walk_packages(experiments.__path__, "engine.experiments.")}
    assert found and found <= named
    assert {f"engine.experiments.{n.replace('/', '.')}" for n in catalogue.load()[0]} <= named
    assert {
        "engine.running.worker",
        "engine.sessions.loader",
        "desktop.app",
        "desktop.headless",
    } <= named
    assert {"engine", "desktop.plots", "engine.commands.selftest"} <= named


def test_every_resource_is_taken_or_named_as_left_out():
    taken = [source for source, _ in recipe.DATA]
    for source in taken:
        assert (ROOT / source).exists(), source
    for file in (ROOT / "resources").rglob("*"):
        name = file.relative_to(ROOT).as_posix()
        if file.is_file() and name not in recipe.NOT_DATA:
            assert any(name.startswith(f"{t}/") for t in taken), f"{name} is not in the bundle"
    for source, target in recipe.DATA:
        assert target in (".", source)  # desktop.resources looks for them there


def test_nothing_that_is_needed_is_excluded():
    """What the program declares, and what torch loads here when a network trains, is not among the exclusions."""
    declared = re.findall(r'^    "([A-Za-z0-9_-]+)', (ROOT / "pyproject.toml").read_text(), re.M)
    code = "import torch; from engine.running.worker import warm; warm(); import sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    optional = set(recipe.OPTIONAL)
    for name in {*declared, *loaded} - {n for n in loaded if n.split(".")[0] in optional}:
        assert not any(name == e or name.startswith(f"{e}.") for e in recipe.EXCLUDED), name


def test_what_is_dropped_is_no_program():
    for path in ("torch/lib/libtorch_cpu.so", "torch/bin/torch_shm_manager", "resources/icons/play.svg",
                 "PySide6/Qt/plugins/platforms/libqxcb.so", "PySide6/Qt/plugins/platforms/libqoffscreen.so",
                 "PySide6/Qt/lib/libQt6Core.so.6", "PySide6/Qt/plugins/imageformats/libqsvg.so"):  # fmt: skip
        assert not recipe.dropped(path)
    for path in (
        "torch/include/ATen/ATen.h",
        "PySide6/Qt/translations/qt_de.qm",
        "torch/lib/libc10.a",
    ):
        assert recipe.dropped(path)
    assert recipe.stripped("torch/lib/libtorch_cpu.so") and not recipe.stripped("numpy.libs/x.so")


def test_the_version_is_said_once():
    assert recipe.version() == VERSION
    assert f"Version: {VERSION}\n" in bundle.control("amd64", 1)
    assert recipe.info_plist()["CFBundleShortVersionString"] == VERSION
    assert VERSION in bundle.kind()


def test_freeze_support_comes_first():
    source = (ROOT / "engine" / "cli.py").read_text()
    body = source[source.index("def main(") :]
    calls = re.findall(r"^    (\w[\w.]*)\(", body, re.M)
    assert calls[0] == "multiprocessing.freeze_support"


def test_desktop_entry_and_file_type():
    entry = configparser.ConfigParser(interpolation=None)
    entry.optionxform = str
    entry.read(HERE / "linux" / "lemmascope.desktop")
    fields = entry["Desktop Entry"]
    assert fields["Type"] == "Application" and fields["Exec"].endswith("%F")
    (kind,) = [k for k in fields["MimeType"].split(";") if k]
    tree = xml.parse(HERE / "linux" / "lemmascope.xml").getroot()
    (mime,) = tree
    assert mime.get("type") == kind
    assert [g.get("pattern") for g in mime if g.tag.endswith("glob")] == ["*.lemma.h5"]
    plist = plistlib.loads(plistlib.dumps(recipe.info_plist()))
    (declared,) = plist["UTExportedTypeDeclarations"]
    assert declared["UTTypeIdentifier"] in plist["CFBundleDocumentTypes"][0]["LSItemContentTypes"]


def test_scripts_for_other_systems_say_that_they_are_untested():
    for name in ("windows/lemmascope.iss", "macos/make_dmg.sh"):
        head = (HERE / name).read_text().splitlines()[:3]
        assert any("UNTESTED" in line for line in head), name
    inno = (HERE / "windows" / "lemmascope.iss").read_text()
    assert "PrivilegesRequired=lowest" in inno and "{#Version}" in inno
    for script in ("linux/install.sh", "linux/uninstall.sh", "macos/make_dmg.sh"):
        subprocess.run(["sh", "-n", str(HERE / script)], check=True)


def test_it_installs_and_uninstalls_in_a_home_with_spaces_and_accents(tmp_path):
    if sys.platform == "win32":
        pytest.skip("the scripts are for Linux")
    source, home = tmp_path / "Entpackt, größer", tmp_path / "Zoé's home"
    (source / "lemmascope").mkdir(parents=True)
    (source / "share").mkdir()
    home.mkdir()
    program = source / "lemmascope" / "lemmascope"
    program.write_text('#!/bin/sh\necho "started $1"\n')
    program.chmod(0o755)
    for file in (HERE / "linux" / "lemmascope.desktop", HERE / "linux" / "lemmascope.xml",
                 ROOT / "resources" / "icons" / "lemmascope.svg"):  # fmt: skip
        (source / "share" / file.name).write_bytes(file.read_bytes())
    for script in ("install.sh", "uninstall.sh"):
        (source / script).write_bytes((HERE / "linux" / script).read_bytes())
    tools = tmp_path / "tools"  # they must get one folder each, however it is spelt
    tools.mkdir()
    for tool in ("update-mime-database", "update-desktop-database"):
        (tools / tool).write_text(FAKE_TOOL)
        (tools / tool).chmod(0o755)
    env = {"HOME": str(home), "PATH": f"{tools}:/usr/bin:/bin"}
    own = home / ".local" / "share" / "lemmascope" / "experiments"
    own.mkdir(parents=True)
    (own / "mine.py").write_text("")
    steps = home / ".cache" / "lemmascope" / "steps"  # compiled while it was in use
    steps.mkdir(parents=True)
    (steps / "x.so").write_text("")
    for _ in range(2):  # also over an earlier installation
        done = subprocess.run(
            ["sh", str(source / "install.sh")], env=env, check=True, capture_output=True, text=True
        )
        assert done.stderr == ""
    said = subprocess.run(
        [home / ".local" / "bin" / "lemmascope", "x"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "started x\n"
    entry = (home / ".local" / "share" / "applications" / "lemmascope.desktop").read_text()
    assert f'Exec="{home}/.local/share/lemmascope/program/lemmascope" app %F' in entry
    remove = home / ".local" / "share" / "lemmascope" / "uninstall.sh"
    subprocess.run(["sh", str(remove)], env=env, check=True, capture_output=True)
    steps.parent.parent.rmdir()  # empty again, and the system's own
    left = [p for p in home.rglob("*") if p.is_symlink() or not p.is_dir() or not any(p.iterdir())]
    assert left == [own / "mine.py"]  # and no empty folder


def test_uninstalling_leaves_what_others_installed(tmp_path):
    if sys.platform == "win32":
        pytest.skip("the scripts are for Linux")
    data = tmp_path / ".local" / "share"
    others = [
        "mime/packages/other.xml", "mime/mime.cache", "applications/other.desktop", "applications/mimeinfo.cache",
        "icons/hicolor/scalable/apps/other.svg",
    ]  # fmt: skip
    for name in [*others, "applications/lemmascope.desktop", "mime/packages/lemmascope.xml"]:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("")
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    script = HERE / "linux" / "uninstall.sh"
    subprocess.run(["sh", script], env=env, check=True, capture_output=True)
    left = {p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file()}
    assert set(others) <= left
    assert not [name for name in left if "lemmascope" in name]


def test_archives_carry_no_user_of_this_machine(tmp_path):
    info = tarfile.TarInfo("x")
    info.uid, info.uname = 4711, "someone"
    owned = bundle.owned(info)
    assert (owned.uid, owned.gid, owned.uname, owned.gname) == (0, 0, "root", "root")
    assert stat.S_IMODE(owned.mode) == stat.S_IMODE(info.mode)


def test_every_example_session_is_named_after_an_experiment_and_shows_its_claims():
    names = {name.rpartition("/")[2] for name in catalogue.load()[0]}
    sessions = sorted((ROOT / "resources" / "sessions").glob("*.lemma.h5"))
    stems = {p.name.removesuffix(".lemma.h5") for p in sessions}
    assert stems and stems <= names  # the menu takes their titles from there
    for path in sessions:
        told = subprocess.run(
            [sys.executable, "-m", "engine.cli", "info", str(path)],
            capture_output=True, text=True, encoding="utf-8", check=True, cwd=ROOT,
        ).stdout  # fmt: skip
        assert "holds:" in told and "fails:" not in told, told
        assert "needs" not in told, told  # too few seeds for its own claims
