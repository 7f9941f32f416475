"""Formulae are drawn, tinted by the theme, and never lost."""

import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage, QRegion
from PySide6.QtWidgets import QApplication, QWidget

from desktop import theme
from desktop.widgets.formula import FormulaError, FormulaLabel, image, renderer

TEX = [
    r"\lambda_1 \le \frac{2}{\eta}",
    r"\Theta(x,x')=\sum_p \partial_p f(x)\,\partial_p f(x')",
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
    r"\mathbb{E}\,\|W_{KQ}\|_F^2 \propto \sqrt{\mathcal{L}}",
]


def ink(picture: QImage) -> int:
    """Number of pixels that are drawn on."""
    return sum(
        QColor(picture.pixelColor(x, y)).alpha() > 60
        for x in range(picture.width())
        for y in range(picture.height())
    )


def extent(picture: QImage) -> float:
    """Part of the picture's columns that are drawn on."""
    columns = [
        any(picture.pixelColor(x, y).alpha() > 60 for y in range(picture.height()))
        for x in range(picture.width())
    ]
    return sum(columns) / len(columns)


@pytest.mark.parametrize("tex", TEX)
def test_glyphs_are_drawn_not_only_bars(qapp, tex):
    picture = image(tex, 20, "#000000")
    # glyphs fill most columns; ziamath's default output leaves Qt nothing but the bars
    assert extent(picture) > 0.5


def test_the_ink_is_the_colour(qapp):
    picture = image(TEX[0], 30, "#ff0000")
    dark = [
        picture.pixelColor(x, y)
        for x in range(picture.width())
        for y in range(picture.height())
        if picture.pixelColor(x, y).alpha() == 255
    ]
    assert dark and all((c.red(), c.green(), c.blue()) == (255, 0, 0) for c in dark)


def test_twice_the_ratio_is_twice_the_pixels(qapp):
    one, two = image(TEX[0], 20, "#000000"), image(TEX[0], 20, "#000000", 2.0)
    assert abs(two.width() - 2 * one.width()) <= 2
    assert two.deviceIndependentSize().width() == pytest.approx(one.width(), abs=1)


def test_kept(qapp):
    assert renderer(TEX[0], 20, "#000000") is renderer(TEX[0], 20, "#000000")


def test_bad_tex_is_shown_as_it_is(qtbot):
    with pytest.raises(FormulaError, match=r"\\frac"):
        renderer(r"\frac{", 15, "#000000")
    label = FormulaLabel(r"\frac{")
    qtbot.addWidget(label)
    assert label.failed and label.accessibleName() == r"\frac{"
    picture = QImage(label.sizeHint(), QImage.Format.Format_ARGB32)
    picture.fill(Qt.GlobalColor.transparent)
    label.resize(label.sizeHint())
    label.render(picture, QPoint(), QRegion(), QWidget.RenderFlag.DrawChildren)
    assert ink(picture) > 20


def test_the_label_follows_the_theme_and_speaks(qtbot):
    app = QApplication.instance()
    theme.apply(app, "light")
    label = FormulaLabel(TEX[0], 20, text="sharpness at most two over eta")
    qtbot.addWidget(label)
    assert label.accessibleName() == "sharpness at most two over eta"
    label.resize(label.sizeHint())

    def darkest():
        shot = label.grab().toImage()
        return min(
            shot.pixelColor(x, y).lightness()
            for x in range(shot.width())
            for y in range(shot.height())
        )

    light = darkest()
    theme.apply(app, "dark")
    assert light < 60  # dark ink
    shot = label.grab().toImage()
    assert (
        max(
            shot.pixelColor(x, y).lightness()
            for x in range(shot.width())
            for y in range(shot.height())
        )
        > 200
    )
    theme.apply(app, "light")


def test_importing_the_module_does_not_import_the_renderer():
    code = "import sys, desktop.widgets.formula; sys.exit('ziamath' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
