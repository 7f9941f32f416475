"""What the READMEs of the desktop list is what there is."""

import re
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "desktop"


@pytest.mark.parametrize(
    ("page", "folders"),
    [
        ("README.md", ("", "panels")),
        ("plots/README.md", ("plots",)),
        ("widgets/README.md", ("widgets",)),
    ],
)
def test_every_file_is_listed_and_every_listed_file_is_there(page, folders):
    there = {p.name for f in folders for p in (ROOM / f).glob("*.py")} - {"__init__.py"}
    listed = set(re.findall(r"`([a-z_]+\.py)`", (ROOM / page).read_text("utf-8")))
    assert listed == there
