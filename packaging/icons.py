"""Draws the program's icon for Windows (.ico) and macOS (.icns) from the one SVG. Run by the recipe, where PySide6 is.

Both forms are a table of PNG files, one a size. Qt's own writers put a single size into a file.
"""

from __future__ import annotations

import struct
from pathlib import Path

ICO = (16, 24, 32, 48, 64, 128, 256)
# The types that hold PNGs. Twice as large ones are for screens with twice the points.
ICNS = {
    b"ic11": 32, b"ic12": 64, b"ic07": 128, b"ic13": 256, b"ic08": 256, b"ic14": 512, b"ic09": 512, b"ic10": 1024,
}  # fmt: skip


def png(source: Path, size: int) -> bytes:
    """The drawing, `size` pixels wide, as a PNG."""
    from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QRectF, Qt
    from PySide6.QtGui import QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    image = QImage(size, size, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    drawing = QSvgRenderer(str(source))
    if not drawing.isValid():
        raise ValueError(f"{source} is no SVG")
    painter = QPainter(image)
    drawing.render(painter, QRectF(0, 0, size, size))
    painter.end()
    kept = QByteArray()
    buffer = QBuffer(kept)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]
    return bytes(kept.data())


def ico(source: Path) -> bytes:
    pictures = [png(source, size) for size in ICO]
    place = 6 + 16 * len(pictures)
    out = [struct.pack("<HHH", 0, 1, len(pictures))]
    for size, picture in zip(ICO, pictures):
        side = size % 256  # 0 stands for 256
        out.append(struct.pack("<BBBBHHII", side, side, 0, 0, 1, 32, len(picture), place))
        place += len(picture)
    return b"".join([*out, *pictures])


def icns(source: Path) -> bytes:
    parts = []
    for kind, size in ICNS.items():
        picture = png(source, size)
        parts.append(kind + struct.pack(">I", 8 + len(picture)) + picture)
    whole = b"".join(parts)
    return b"icns" + struct.pack(">I", 8 + len(whole)) + whole


def make(source: Path, folder: Path, system: str) -> str | None:
    """The icon file for `sys.platform`, made in `folder`; None where a program's file carries no icon."""
    maker = {"win32": ico, "darwin": icns}.get(system)
    if maker is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{source.stem}.{maker.__name__}"
    path.write_bytes(maker(source))
    return str(path)
