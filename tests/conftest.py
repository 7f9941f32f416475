"""What every test shares. Additive: several people write here."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# what whoever runs the tests has of experiments of their own is no part of them
os.environ["LEMMASCOPE_EXPERIMENTS"] = os.path.join(os.path.dirname(__file__), "no-such-folder")
# … nor what a crash has left them
os.environ["LEMMASCOPE_STATE"] = tempfile.mkdtemp(prefix="lemmascope-state-")
atexit.register(shutil.rmtree, os.environ["LEMMASCOPE_STATE"], True)

ROOT = str(Path(__file__).parents[1])
if (
    ROOT not in sys.path
):  # so that `tests.…` imports whether pytest or `python -m pytest` was called
    sys.path.insert(0, ROOT)


# A shared or busy machine must not turn a slow example into a failure.
hypothesis.settings.register_profile("lemmascope", deadline=None)
hypothesis.settings.load_profile("lemmascope")


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests that take minutes")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="only with --long"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """One torch thread, as in a worker; a test that needs no torch does not load it for this."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def small_disk(tmp_path):
    """2 MB, and a function that makes it read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only one who may mount a file system can run this")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    subprocess.run(["umount", str(folder)], check=True)
