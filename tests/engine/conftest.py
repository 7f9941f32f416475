"""A folder for users' own experiments, and a list of what is enabled, of the test's own."""

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "own experiments"
    place.mkdir()
    monkeypatch.setenv("LEMMASCOPE_EXPERIMENTS", str(place))
    monkeypatch.setenv("LEMMASCOPE_CONFIG", str(tmp_path / "config"))
    return place
