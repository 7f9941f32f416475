"""Files of plots: vector ones hold no raster, tables read back to the data, all carry their metadata."""

import json
import re
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
from PySide6.QtCore import QSizeF
from PySide6.QtGui import QColor, QImage, QPageSize, QPainter, QPdfWriter
from PySide6.QtWidgets import QApplication

from desktop import theme
from desktop.plots.base import Measured, Theory, make_plot
from desktop.plots.export import export, image, read_csv

META = {"run": "7", "lr": 0.1, "note": "η & <α>", "seeds": [0, 1, 2]}
KINDS = ("scalar", "modes", "profile", "spectrum", "matrix", "sweep")


@pytest.fixture
def plot(qtbot):
    theme.apply(QApplication.instance(), "dark")

    def make(kind):
        r = np.random.default_rng(0)
        p = make_plot(kind, title="Sharpness", x_label="step", y_label="sharpness λ₁")
        qtbot.addWidget(p)
        if kind == "matrix":
            p.set_shape(12, 12)
            p.set_measured(
                "1", Measured(np.array([0.0]), r.normal(size=(1, 5, 144)), 0, "", "live", seeds=5)
            )
            p.set_theory("1", "t", Theory(np.array([0.0]), r.normal(size=(1, 144)), "t", True, ""))
        else:
            x = np.arange(1.0, 41.0)
            values = 5 + r.normal(size=(40, 5, 1)).cumsum(0)
            p.set_measured("1", Measured(x, values, 0, "η = 0.1", "live", seeds=5))
            p.set_measured("2", Measured(x, values + 1, 1, "η = 0.2", "ghost", seeds=5))
            p.set_theory("1", "t", Theory(x, 5 + np.sqrt(x)[:, None], "√t", True, ""))
            p.set_events("1", [(20.0, "η 0.05 → 0.1")])
        return p

    yield make
    theme.apply(QApplication.instance(), "light")


def images_in_pdf(data):
    return len(re.findall(rb"/Subtype\s*/Image", data))


def pdf_streams(data):
    out = []
    for m in re.finditer(rb"stream\r?\n(.*?)endstream", data, re.S):
        try:
            out.append(zlib.decompress(m[1]))
        except zlib.error:
            out.append(m[1])
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_vector_files_hold_no_raster(plot, kind, tmp_path):
    p = plot(kind)
    export(p, tmp_path / "p.svg", metadata=META)
    export(p, tmp_path / "p.pdf", metadata=META)
    tags = {e.tag.split("}")[-1] for e in ET.parse(tmp_path / "p.svg").iter()}
    assert "path" in tags or "rect" in tags
    assert "image" not in tags
    assert images_in_pdf((tmp_path / "p.pdf").read_bytes()) == 0


def test_the_search_for_rasters_would_find_one(qapp, tmp_path):
    writer = QPdfWriter(str(tmp_path / "r.pdf"))
    painter = QPainter(writer)
    picture = QImage(50, 50, QImage.Format.Format_RGB32)
    picture.fill(QColor("red"))
    painter.drawImage(100, 100, picture)
    painter.end()
    assert images_in_pdf((tmp_path / "r.pdf").read_bytes()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_csv_reads_back_to_the_table(plot, kind, tmp_path):
    p = plot(kind)
    export(p, tmp_path / "p.csv", metadata=META)
    meta, headers, rows = read_csv(tmp_path / "p.csv")
    want_headers, want = p.table()
    assert meta == META and headers == want_headers and len(rows) > 30
    assert rows == [[float(v) if isinstance(v, int) else v for v in row] for row in want]


def test_the_csv_holds_the_data_themselves(plot, tmp_path):
    p = plot("scalar")
    export(p, tmp_path / "p.csv")
    _, headers, rows = read_csv(tmp_path / "p.csv")
    column = headers.index("η = 0.1 median")
    median = np.median(p.measured["1"].values[:, :, 0], axis=1)
    assert [row[column] for row in rows] == median.tolist()  # every digit


def test_the_png_has_its_size_resolution_and_metadata(plot, tmp_path):
    p = plot("scalar")
    export(p, tmp_path / "p.png", width_px=900, height_px=600, dpi=150, metadata=META)
    picture = QImage(str(tmp_path / "p.png"))
    assert (picture.width(), picture.height()) == (900, 600)
    assert picture.dotsPerMeterX() == round(150 / 0.0254)
    assert json.loads(picture.text("Metadata")) == META
    assert picture.text("Lemmascope:lr") == "0.1" and "Sharpness" in picture.text("Description")
    assert picture.pixelColor(1, 1) == QColor(theme.tokens().surface)


def test_svg_and_pdf_carry_the_metadata(plot, tmp_path):
    p = plot("scalar")
    export(p, tmp_path / "p.svg", metadata=META)
    export(p, tmp_path / "p.pdf", metadata=META)
    root = ET.parse(tmp_path / "p.svg").getroot()
    text = {e.tag.split("}")[-1]: e.text for e in root}
    assert text["title"] == "Sharpness"
    assert json.loads(text["desc"].splitlines()[-1]) == META
    found = [s for s in pdf_streams((tmp_path / "p.pdf").read_bytes()) if b'"seeds"' in s]
    assert len(found) == 1 and json.loads(found[0]) == META


def test_paper_is_white_and_leaves_the_plot_as_it_was(plot, tmp_path):
    p = plot("scalar")
    p.refresh()
    before = [m.colour.name() for m in p.content.marks]
    export(p, tmp_path / "p.png", paper=True)
    assert QImage(str(tmp_path / "p.png")).pixelColor(1, 1) == QColor("white")
    assert [m.colour.name() for m in p.content.marks] == before
    assert "#ffffff" in _svg(p, tmp_path, paper=True) and "#ffffff" not in _svg(p, tmp_path)


def _svg(p, tmp_path, **kw):
    export(p, tmp_path / "q.svg", **kw)
    return (tmp_path / "q.svg").read_text().lower()


def test_vector_files_keep_their_size_in_inches(plot, tmp_path):
    p = plot("scalar")
    export(p, tmp_path / "p.svg", width_px=1200, height_px=600, dpi=200)
    export(p, tmp_path / "p.pdf", width_px=1200, height_px=600, dpi=200)
    root = ET.parse(tmp_path / "p.svg").getroot()
    assert root.get("width") == "152.4mm" and root.get("height") == "76.2mm"
    box = re.search(rb"/MediaBox\s*\[([^\]]*)\]", (tmp_path / "p.pdf").read_bytes())
    assert [float(v) for v in box[1].split()] == [0, 0, 432, 216]
    assert QPageSize(QSizeF(432, 216), QPageSize.Unit.Point).isValid()


def test_nothing_in_an_svg_leaves_the_data_rectangle(plot, tmp_path):
    """Many viewers ignore clip paths, so what is zoomed out of view must not be in the file."""
    p = plot("scalar")
    p.refresh()
    p.following = False
    x0, x1, y0, y1 = p.range
    p.range = [
        x0 + 0.3 * (x1 - x0),
        x0 + 0.6 * (x1 - x0),
        y0 + 0.2 * (y1 - y0),
        y0 + 0.8 * (y1 - y0),
    ]
    export(p, tmp_path / "p.svg", width_px=1600, height_px=1000, dpi=192)
    root = ET.parse(tmp_path / "p.svg").getroot()
    number = re.compile(r"-?[\d.]+(?:e-?\d+)?")
    (clip,) = [e for e in root.iter() if e.tag.endswith("clipPath")]
    edge = np.array([float(v) for v in number.findall(clip[0].get("d"))]).reshape(-1, 2)
    drawn = [e.get("points") for e in root.iter() if e.tag.endswith("polyline")]
    curves = [number.findall(text) for text in drawn]
    curves = [c for c in curves if len(c) > 4]  # two points are a tick or an axis
    points = np.array([float(v) for c in curves for v in c]).reshape(-1, 2)
    assert len(points) > 10
    assert (points >= edge.min(0) - 2).all() and (points <= edge.max(0) + 2).all()


def test_the_crosshair_is_not_in_the_file(plot, tmp_path):
    p = plot("scalar")
    export(p, tmp_path / "a.png")
    p.set_crosshair(20.0)
    export(p, tmp_path / "b.png")
    assert QImage(str(tmp_path / "a.png")) == QImage(str(tmp_path / "b.png"))


def test_a_bad_name_or_place_is_refused_and_leaves_nothing(plot, tmp_path):
    p = plot("scalar")
    with pytest.raises(ValueError, match="export knows png, svg, pdf, csv, not gif"):
        export(p, tmp_path / "p.gif")
    for suffix in ("png", "svg", "pdf", "csv"):
        with pytest.raises(OSError):  # noqa: PT011 - the system's own words differ
            export(p, tmp_path / "missing" / f"p.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_once_the_new_one_is_whole(plot, tmp_path, monkeypatch):
    p = plot("scalar")
    target = tmp_path / "p.csv"
    target.write_text("old")
    monkeypatch.setattr(p, "table", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(p, target)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_a_picture_for_the_clipboard(plot):
    picture = image(plot("scalar"), 800, 500)
    assert (picture.width(), picture.height()) == (800, 500)
