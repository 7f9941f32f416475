"""The theme: contrasts and distances computed, fonts and icons there, nothing frozen at a change."""

import itertools
import re
import unicodedata

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QFontInfo, QFontMetricsF, QIcon, QRawFont
from PySide6.QtWidgets import QApplication, QPushButton

from desktop import resources, theme
from desktop.theme_icons import names
from desktop.theme_tokens import DARK, LIGHT
from desktop.theme_vision import VISIONS, closest, contrast, distance, lab, luminance

THEMES = pytest.mark.parametrize("t", [LIGHT, DARK], ids=lambda t: t.name)


@pytest.fixture(autouse=True)
def light_afterwards(qapp):
    yield
    theme.apply(QApplication.instance(), "light")


def test_arithmetic_of_colour_against_known_values():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)  # WCAG's usual example
    assert luminance("#808080") == pytest.approx(0.2159, abs=1e-4)
    assert lab("#FF0000") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    # what a dichromat confuses: red and green of like lightness, but never yellow and blue
    assert distance("#B03A2E", "#5E6A2F", "deuteranopia") < 0.35 * distance("#B03A2E", "#5E6A2F")
    assert distance("#FFD000", "#2040C0", "deuteranopia") > 60
    for vision in VISIONS:  # grey is grey to everyone
        assert distance("#808080", "#808080", vision) == 0
        assert abs(lab("#808080", vision)[1:]).max() < 1


@THEMES
def test_text_reads_and_marks_are_seen(t):
    for surface in (t.surface, t.window):
        for ink in (t.text, t.muted, t.accent, t.bad, t.good):
            assert contrast(ink, surface) >= 4.5, (ink, surface)
    assert contrast(t.text, t.selection) >= 4.5
    assert contrast(t.text, t.raised) >= 4.5
    assert contrast(t.on_accent, t.accent) >= 4.5
    assert contrast(t.border, t.surface) >= 3  # outlines of controls
    assert contrast(t.caution, t.surface) >= 3


@THEMES
def test_run_colours_are_told_apart_by_everyone(t):
    assert len(t.runs) == 8
    for colour in t.runs:
        assert contrast(colour, t.surface) >= 3
    for vision in VISIONS:
        # 2 is just noticeable side by side; thin separate lines need far more. The first four, the usual number
        # of runs on a plot, are kept still further apart.
        assert closest(t.runs, vision)[0] >= 18, (vision, closest(t.runs, vision))
        assert closest(t.runs[:4], vision)[0] >= 26
        # theory is drawn in ink: no run may look like it
        assert min(distance(c, t.text, vision) for c in t.runs) >= 24


def test_line_styles_change_after_eight_runs(qapp):
    styles = [theme.run_style(k) for k in range(24)]
    assert len(set(styles[:8])) == 1 and len({styles[0], styles[8], styles[16]}) == 3
    looks = {(theme.run_colour(k).name(), theme.run_style(k)) for k in range(24)}
    assert len(looks) == 24


@THEMES
def test_labels_in_a_runs_colour_read(t):
    for k in range(8):
        assert contrast(theme.run_ink(k, t).name(), t.surface) >= 4.5


@THEMES
def test_shades_of_one_run_keep_their_contrast(t):
    for k, part in itertools.product(range(8), (0.25, 0.5, 0.75, 1.0)):
        assert (
            contrast(theme.run_colour(k, part, t).name(), t.surface) >= 2.95
        )  # rounding of 8 bits


def test_applying_changes_palette_style_and_font(qapp, qtbot):
    app = QApplication.instance()
    heard = []
    theme.changed.connect(lambda: heard.append(theme.tokens().name))
    theme.apply(app, "light")
    light = app.styleSheet()
    assert app.palette().window().color() == QColor(LIGHT.window)
    theme.apply(app, "dark")
    assert app.palette().window().color() == QColor(DARK.window)
    assert heard == ["light", "dark"]
    # no colour of the light theme survives in the dark one
    only_light = set(re.findall(r"#[0-9A-Fa-f]{6}", light)) - set(LIGHT.runs)
    shared = {c for c in only_light if c in app.styleSheet()}
    assert not shared & {LIGHT.window, LIGHT.surface, LIGHT.text, LIGHT.hairline, LIGHT.accent}
    assert QFontInfo(app.font()).family() == "Inter"


def test_system_follows_the_system(qapp):
    app = QApplication.instance()
    theme.apply(app, "system")
    assert theme.mode() == "system"
    hints = app.styleHints()
    asked = theme.tokens().name
    assert asked == ("dark" if hints.colorScheme().name == "Dark" else "light")


def test_a_projector_gets_larger_type(qapp):
    app = QApplication.instance()
    theme.apply(app, "light", scale=1.5)
    assert app.font().pixelSize() == 20 and theme.tokens().title == 30
    theme.apply(app, "light")
    assert app.font().pixelSize() == 13


def test_figures_are_tabular_in_both_weights(qapp):
    theme.apply(QApplication.instance(), "light")
    for weight in (400, 600):
        metrics = QFontMetricsF(theme.font(20, weight))
        assert len({round(metrics.horizontalAdvance(c), 3) for c in "0123456789"}) == 1
    assert QFontInfo(theme.font(13, 600)).weight() == 600


def test_the_bundled_fonts_have_every_sign_that_labels_use(qapp):
    theme.apply(QApplication.instance(), "light")
    signs = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻₀₁₂₃₄ληασβΣκθωρτμγδεπφχψξζΔΦΩ√≤≥≈±×·…∞→✓✗–—‖∂∇𝔼⟨⟩∝⊥ℓ−′∈∑∏"
    fonts = []
    for family in theme.SANS:
        face = theme.font(20)
        face.setFamilies([family])
        fonts.append(QRawFont.fromFont(face))
    for sign in signs:
        assert any(f.supportsCharacter(ord(sign)) for f in fonts), unicodedata.name(sign)


def test_fonts_are_small_and_licensed():
    files = list(resources.path("fonts").iterdir())
    assert sum(f.stat().st_size for f in files) < 3_000_000
    licences = [f.read_text(encoding="utf-8") for f in files if f.name.startswith("OFL-")]
    assert len(licences) == 3 and all("SIL Open Font License, Version 1.1" in x for x in licences)


def test_every_icon_is_drawn_in_the_palettes_colour(qapp):
    app = QApplication.instance()
    own = {"lemmascope"}  # the application's icon keeps its colours
    for mode in ("light", "dark"):
        theme.apply(app, mode)
        text = QColor(theme.tokens().text)
        for name in set(names()) - own:
            picture = theme.icon(name).pixmap(QSize(40, 40)).toImage()
            solid = [
                picture.pixelColor(x, y)
                for x in range(40)
                for y in range(40)
                if picture.pixelColor(x, y).alpha() > 250
            ]
            assert len(solid) > 10, name
            close = sum(abs(c.lightness() - text.lightness()) < 40 for c in solid)
            assert close > 0.3 * len(solid), (name, mode)


def test_an_icon_given_out_once_follows_the_theme(qtbot):
    app = QApplication.instance()
    theme.apply(app, "light")
    button = QPushButton()
    qtbot.addWidget(button)
    button.setIcon(theme.icon("square"))

    def ink():
        picture = button.icon().pixmap(QSize(40, 40)).toImage()
        return picture.pixelColor(10, 20)

    dark_ink = ink()
    theme.apply(app, "dark")
    assert ink().lightness() > dark_ink.lightness() + 100
    disabled = button.icon().pixmap(QSize(40, 40), QIcon.Mode.Disabled).toImage()
    assert disabled.pixelColor(10, 20).lightness() < ink().lightness() - 40


def test_an_unknown_icon_is_named():
    with pytest.raises(FileNotFoundError, match="no-such-icon"):
        theme.icon("no-such-icon")


@THEMES
def test_the_style_sheets_arrows_match_their_theme(t):
    arrow = resources.path("icons", f"arrow-{t.name}.svg").read_text()
    tick = resources.path("icons", f"tick-{t.name}.svg").read_text()
    assert t.muted in arrow and t.on_accent in tick


def test_reduced_motion_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_REDUCED_MOTION", "1")
    assert theme.reduced_motion()
    theme.set_reduced_motion(False)
    assert not theme.reduced_motion()
    theme.set_reduced_motion(None)
    assert theme.reduced_motion()


def test_resources_are_found_in_a_frozen_build(monkeypatch, tmp_path):
    (tmp_path / "resources" / "icons").mkdir(parents=True)
    (tmp_path / "resources" / "icons" / "x.svg").write_text("<svg/>")
    monkeypatch.setattr("sys._MEIPASS", str(tmp_path), raising=False)
    assert resources.path("icons", "x.svg").parent.parent.parent == tmp_path
    with pytest.raises(FileNotFoundError, match=r"fonts/none\.ttf"):
        resources.path("fonts", "none.ttf")
