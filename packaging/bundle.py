"""Builds what a person installs: a folder that needs no Python, an archive of it and, on Debian, a package.

The folder is tried before anything is packed: every experiment must train in it, with an emptied environment.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import recipe
from installing import PYTHON, ROOT, Problem, install
from slimming import slim
from system import provide, say

BUILD, DIST = ROOT / "build", ROOT / "dist"
FOLDER = DIST / recipe.NAME
HERE = ROOT / "packaging"
DEPENDS = ("libc6 (>= 2.36)", "libgl1", "libegl1", "libxcb1", "libx11-xcb1", "libfontconfig1")
# What PyInstaller says of a library that it could not find, for files that stay in.
UNRESOLVED = re.compile(r"could not resolve '([^']+)', dependency of '([^']+)'")


def bundle(words: list[str]) -> int:
    if words:
        say(f"bootstrap.py: bundle takes no {words[0]}")
        return 2
    install("bundle")
    provide(("binutils",) if sys.platform.startswith("linux") else ())
    freeze()
    if sys.platform.startswith("linux"):
        say("making it smaller")
        slim(FOLDER)
    notices()
    selftest()
    say(f"{FOLDER.relative_to(ROOT)}: {megabytes(FOLDER):.0f} MB")
    if sys.platform.startswith("linux"):
        for made in (archive(), package()):
            if made is not None:
                say(f"{made.relative_to(ROOT)}: {megabytes(made):.0f} MB")
    elif sys.platform == "darwin":
        say("now: sh packaging/macos/make_dmg.sh " + recipe.version())
    else:
        say(rf"now: iscc /DVersion={recipe.version()} packaging\windows\lemmascope.iss")
    return 0


def megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [f for f in path.rglob("*") if not f.is_symlink()]
    return sum(f.stat().st_size for f in files if f.is_file()) / 1e6


def freeze() -> None:
    """Runs PyInstaller. A library that it misses is an error here: the bundle would start nowhere else either."""
    say("looking what training loads")
    BUILD.mkdir(exist_ok=True)
    told = subprocess.run(
        [str(PYTHON), str(HERE / "record.py")], stdout=subprocess.PIPE, text=True, check=False
    )
    if told.returncode:
        raise Problem("the experiments do not train here, so a bundle cannot be made")
    recipe.RECORDED.write_text(told.stdout, encoding="utf-8")
    say("freezing (two minutes)")
    done = subprocess.run(
        [str(PYTHON), "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--distpath", str(DIST),
         "--workpath", str(BUILD), str(HERE / "lemmascope.spec")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    log = BUILD / "pyinstaller.log"
    log.write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
        raise Problem(f"PyInstaller failed: {last} (all that it said: {log})")
    for library, needed_by in UNRESOLVED.findall(done.stdout):
        inside = re.sub(r".*site-packages/", "", needed_by.replace("\\", "/"))
        if not recipe.dropped(inside):
            raise Problem(f"{library}, which {inside} needs, is not on this machine")


def notices() -> None:
    """The licences of all that is inside, as their packages carry them."""
    folder = FOLDER / "licences"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    site = next(iter(sorted((ROOT / ".venv").glob("lib/python*/site-packages"))), None)
    site = site or ROOT / ".venv" / "Lib" / "site-packages"
    lines = []
    for dist in sorted(importlib.metadata.distributions(path=[str(site)]), key=lambda d: d.name):
        if not inside(dist):
            continue
        lines.append(f"{dist.name} {dist.version}: {licence_of(dist)}")
        for file in dist.files or ():
            named = re.match(r"(licen[cs]e|copying|notice|authors)", file.name, re.IGNORECASE)
            source = Path(str(dist.locate_file(file)))
            if named and file.suffix not in (".py", ".pyc") and source.is_file():
                target = (
                    folder
                    / dist.name
                    / re.sub(r"[^\w.-]+", "_", str(file.parent.name) + "-" + file.name)
                )
                target.parent.mkdir(exist_ok=True)
                shutil.copy(source, target)
    python = Path(sys.base_prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for source in (python / "LICENSE.txt", Path(sys.base_prefix) / "LICENSE.txt"):
        if source.is_file():
            shutil.copy(source, folder / "python-LICENSE.txt")
    for font in sorted((ROOT / "resources" / "fonts").glob("OFL-*.txt")):
        shutil.copy(font, folder)
    (folder / "README.txt").write_text(
        "Lemmascope is under the MIT licence (_internal/LICENSE). It is built on the following, under their own licences; "
        "their texts lie beside this file.\n\n"
        "Qt (PySide6, shiboken6) is used under the GNU Lesser General Public License, version 3. Its libraries are separate "
        "files, in _internal/PySide6 and _internal/shiboken6, and you may replace them with your own builds of the same "
        "version; its source is at https://code.qt.io. The ICU data among them (libicudata) hold fewer languages than Qt's own "
        "build. Libraries of the system that built this bundle (_internal/lib*.so*) are "
        "under their distributor's terms.\n\n" + "\n".join(lines) + "\n",
        encoding="utf-8",
    )  # fmt: skip


def inside(dist: importlib.metadata.Distribution) -> bool:
    """Whether a package has a part in the bundle: frozen modules are listed by PyInstaller, others lie in the folder."""
    told = BUILD / recipe.NAME / "PYZ-00.toc"
    text = told.read_text(encoding="utf-8", errors="replace") if told.exists() else ""
    tops = {p.parts[0] for p in dist.files or () if p.suffix in (".py", ".so") and len(p.parts) > 1}
    tops |= {p.stem for p in dist.files or () if p.suffix == ".py" and len(p.parts) == 1}
    tops = {t for t in tops if re.fullmatch(r"\w+", t)} - {"bin"}
    return any(f"('{t}'," in text or (FOLDER / "_internal" / t).is_dir() for t in tops)


def licence_of(dist: importlib.metadata.Distribution) -> str:
    told = dist.metadata
    name = told.get("License-Expression") or told.get("License") or ""
    classified = [c.split(" :: ")[-1] for c in told.get_all("Classifier", []) if "License" in c]
    return (name.strip().splitlines() or classified or ["see its texts"])[0][:80]


def selftest() -> None:
    """In the bundle, with nothing of this shell: no Python, no PATH, no display."""
    say("trying it")
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "QT_QPA_PLATFORM": "offscreen"}
        if os.name == "nt":
            env |= {k: os.environ[k] for k in ("SYSTEMROOT", "TEMP") if k in os.environ}
        program = FOLDER / (f"{recipe.NAME}.exe" if os.name == "nt" else recipe.NAME)
        try:
            done = subprocess.run(
                [str(program), "selftest"], env=env, cwd=home, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Problem("the bundle's own test did not end within ten minutes") from None
    print(done.stdout, end="")
    if done.returncode:
        raise Problem(f"the bundle's own test failed with exit status {done.returncode}")


def kind() -> str:
    return f"{recipe.version()}-linux-{platform.machine()}"


def archive() -> Path:
    """The folder, with what installs it for one user, as .tar.gz."""
    path = DIST / f"{recipe.NAME}-{kind()}.tar.gz"
    top = f"{recipe.NAME}-{recipe.version()}"
    say("packing")
    share = [HERE / "linux" / f"{recipe.NAME}.desktop", HERE / "linux" / f"{recipe.NAME}.xml"]
    share.append(ROOT / "resources" / "icons" / f"{recipe.NAME}.svg")
    with tarfile.open(path, "w:gz", compresslevel=9) as tar:
        tar.add(FOLDER, f"{top}/{recipe.NAME}", filter=owned)
        for script in ("install.sh", "uninstall.sh"):
            tar.add(HERE / "linux" / script, f"{top}/{script}", filter=owned)
        for file in share:
            tar.add(file, f"{top}/share/{file.name}", filter=owned)
    return path


def owned(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's user number of this machine goes along."""
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def package() -> Path | None:
    """A .deb, where dpkg-deb is: the program in /opt, menu entry, icon and file type where the system looks."""
    if shutil.which("dpkg-deb") is None:
        say("no .deb: dpkg-deb is not here")
        return None
    machine = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    path = DIST / f"{recipe.NAME}_{recipe.version()}_{machine}.deb"
    with tempfile.TemporaryDirectory(dir=DIST) as stage:
        root = Path(stage) / "root"
        place = root.joinpath
        shutil.copytree(FOLDER, place("opt", recipe.NAME), symlinks=True)
        for source, target in (
            (HERE / "linux" / f"{recipe.NAME}.desktop", ("usr", "share", "applications")),
            (HERE / "linux" / f"{recipe.NAME}.xml", ("usr", "share", "mime", "packages")),
            (ROOT / "resources" / "icons" / f"{recipe.NAME}.svg",
             ("usr", "share", "icons", "hicolor", "scalable", "apps")),
        ):  # fmt: skip
            place(*target).mkdir(parents=True)
            shutil.copy(source, place(*target))
        place("usr", "bin").mkdir()
        place("usr", "bin", recipe.NAME).symlink_to(f"/opt/{recipe.NAME}/{recipe.NAME}")
        document = place("usr", "share", "doc", recipe.NAME)
        document.mkdir(parents=True)
        shutil.copy(ROOT / "LICENSE", document / "copyright")
        with gzip.open(document / "changelog.gz", "wb", 9) as f:
            f.write((ROOT / "CHANGELOG.md").read_bytes())
        place("DEBIAN").mkdir()
        place("DEBIAN", "control").write_text(control(machine, round(megabytes(root) * 1e6 / 1024)))
        for folder in (root, *root.rglob("*")):
            if not folder.is_symlink():
                run = folder.is_dir() or os.access(folder, os.X_OK)
                folder.chmod(0o755 if run else 0o644)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(path)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return path


def control(machine: str, kilobytes: int) -> str:
    return f"""\
Package: {recipe.NAME}
Version: {recipe.version()}
Architecture: {machine}
Maintainer: Lemmascope <lemmascope@users.noreply.github.com>
Installed-Size: {kilobytes}
Depends: {", ".join(DEPENDS)}
Section: science
Priority: optional
Description: lab for deep-learning theory
 Pick a published result, move sliders, and small networks train live while
 theory's prediction for the same values is drawn on the measured curve and
 the two are judged against each other.
"""
