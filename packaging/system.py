"""What Lemmascope needs of the system around Python: Qt's libraries on Linux, tools for tests and bundles, a display."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

# Debian's and Ubuntu's package, and the library by which one sees that it is there.
# Qt loads the xcb ones by name when a window opens and aborts, without naming it, where one is missing.
LIBRARIES = {
    "libglib2.0-0": "libglib-2.0.so.0",
    "libgl1": "libGL.so.1",
    "libegl1": "libEGL.so.1",
    "libxkbcommon0": "libxkbcommon.so.0",
    "libdbus-1-3": "libdbus-1.so.3",
    "libfontconfig1": "libfontconfig.so.1",
    "libgssapi-krb5-2": "libgssapi_krb5.so.2",
    "libxcb-cursor0": "libxcb-cursor.so.0",
    "libxcb-icccm4": "libxcb-icccm.so.4",
    "libxcb-keysyms1": "libxcb-keysyms.so.1",
    "libxcb-shape0": "libxcb-shape.so.0",
    "libxcb-xkb1": "libxcb-xkb.so.1",
    "libxcb-image0": "libxcb-image.so.0",
    "libxcb-render-util0": "libxcb-render-util.so.0",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
}
TOOLS = {"xvfb": "Xvfb", "xauth": "xauth", "binutils": "objdump"}


def say(text: str) -> None:
    """To stderr: stdout belongs to what is started (`bench --json`)."""
    print(text, file=sys.stderr, flush=True)


def missing(tools: tuple[str, ...] = ()) -> list[str]:
    """Debian's names of what is not here: Qt's libraries, and those of `tools`."""
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin:" + os.environ.get("PATH", ""))
    if ldconfig is None:
        return []
    found = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
    there = {line.split()[0] for line in found.splitlines() if " => " in line}
    return [p for p, lib in LIBRARIES.items() if lib not in there] + [
        p for p in tools if shutil.which(TOOLS[p]) is None
    ]


def apt_get(packages: list[str], purpose: str) -> None:
    """Installs Debian packages as root, and names the line to type otherwise."""
    line = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.name == "nt" or shutil.which("apt-get") is None:
        say(f"{purpose} may need of your system, by Debian's names: {', '.join(packages)}")
        return
    if os.geteuid() != 0:
        say(f"{purpose} needs what is not here; as root: {' '.join(line)}")
        return
    say(f"installing for {purpose}: {', '.join(packages)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], line):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"that failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
            say(f"as root: {' '.join(line)}")
            return


def provide(tools: tuple[str, ...] = ()) -> None:
    if sys.platform.startswith("linux") and (packages := missing(tools)):
        apt_get(packages, "Qt" if not tools else "Qt and the tools")


def has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
