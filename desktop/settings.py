"""What the window remembers between starts: one file, whose place `LEMMASCOPE_CONFIG` moves (for tests)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import platformdirs
from PySide6.QtCore import QByteArray, QSettings

RECENT = 10


class Settings:
    def __init__(self, folder: Path | None = None) -> None:
        told = os.environ.get("LEMMASCOPE_CONFIG")
        place = folder or (
            Path(told)
            if told
            else Path(platformdirs.user_config_dir("lemmascope", appauthor=False))
        )
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            pass  # a read-only home: nothing is remembered
        self._kept = QSettings(str(place / "window.ini"), QSettings.Format.IniFormat)

    def text(self, key: str, default: str = "") -> str:
        value = self._kept.value(key, default)
        return value if isinstance(value, str) else default

    def flag(self, key: str, default: bool = False) -> bool:
        return self.text(key, "true" if default else "false") == "true"

    def blob(self, key: str) -> QByteArray:
        value = self._kept.value(key)
        return value if isinstance(value, QByteArray) else QByteArray()

    def put(self, key: str, value: Any) -> None:
        if isinstance(value, bool):
            value = "true" if value else "false"
        self._kept.setValue(key, value)

    def save(self) -> None:
        self._kept.sync()

    @property
    def recent(self) -> list[str]:
        """Sessions opened or saved lately, the latest first, those that still exist."""
        value = self._kept.value("recent", [])
        paths = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        return [p for p in paths if isinstance(p, str) and p and os.path.exists(p)][:RECENT]

    def add_recent(self, path: str) -> None:
        rest = [p for p in self.recent if p != path]
        self._kept.setValue("recent", [path, *rest][:RECENT])

    def clear_recent(self) -> None:
        self._kept.setValue("recent", [])
