"""What every test shares. Additive: several people write here."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

ROOT = str(Path(__file__).parents[1])
if (
    ROOT not in sys.path
):  # so that `tests.…` imports whether pytest or `python -m pytest` was called
    sys.path.insert(0, ROOT)


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests that take minutes")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="only with --long"))
