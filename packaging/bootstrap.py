#!/usr/bin/env python3
"""Sets Lemmascope up on a fresh machine and starts it. Needs Python 3.11, 3.12 or 3.13 and nothing else.

    python3 packaging/bootstrap.py                 set up, then start the application
    python3 packaging/bootstrap.py setup           set up only
    python3 packaging/bootstrap.py test [--long] [pytest arguments]
    python3 packaging/bootstrap.py bench [--json]
    python3 packaging/bootstrap.py bundle          build what a person installs, into dist/

With no display the default experiment trains without a window and leaves a session and a picture in the current folder.
"""

# Any Python, however old, must be able to read this file, since it is the one that says that the Python is too old.
import os
import subprocess
import sys

SUPPORTED = ((3, 11), (3, 12), (3, 13))


def another_python():
    """A supported Python from PATH that can make virtual environments, or None."""
    for minor in (12, 13, 11):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            path = os.path.join(folder, "python3.%d" % minor)  # noqa: UP031
            if not os.access(path, os.X_OK):
                continue
            check = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, %d))" % minor  # noqa: UP031
            with open(os.devnull, "w") as null:
                if not subprocess.call([path, "-c", check], stdout=null, stderr=null):
                    return path
    return None


def main():
    if sys.version_info[:2] not in SUPPORTED:
        version = ".".join(map(str, sys.version_info[:3]))
        path = another_python()
        if path is None:
            sys.stderr.write(
                "bootstrap.py: Python %s is not supported: Lemmascope needs 3.11, 3.12 or 3.13, "  # noqa: UP031
                "and none of them is on PATH\n" % version
            )
            return 1
        sys.stderr.write("this is Python %s; going on with %s\n" % (version, path))  # noqa: UP031
        return subprocess.call([path, os.path.abspath(__file__)] + sys.argv[1:])  # noqa: RUF005
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import commands

    return commands.main(sys.argv[1:], __doc__)


if __name__ == "__main__":
    sys.exit(main())
