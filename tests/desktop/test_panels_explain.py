import re

from PySide6.QtCore import QEvent, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication

from desktop.panels.explain import live_numbers, page_html
from engine.messages import ReferenceCard, Start
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


def cardboard(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path)
    window.lab.open("stability/cardboard")
    settle(window)
    return window


def test_a_page_is_text_with_no_markup_links_or_pictures_of_its_own():
    html = page_html(fake.card())
    assert "<script" not in html and "&lt;script&gt;" in html
    links = re.findall(r'href\s*=\s*"?([^">]*)', html)
    assert links and all(
        re.fullmatch(r"preset:\d|https://arxiv\.org/abs/[\d.]+", link) for link in links
    )
    assert "<img" not in html
    assert "<em>network</em>" in html
    assert "none is real" in html


def test_references_lead_to_arxiv_only():
    bad = ReferenceCard("x", "A <b>trap</b>", '2103.00065" onclick="x')
    html = page_html(fake.card(references=(*fake.card().references, bad)))
    assert html.count("https://arxiv.org/abs/2103.00065") == 1
    assert "onclick" not in html
    assert "<b>trap" not in html


def test_nothing_else_is_ever_opened(qtbot, tmp_path, monkeypatch):
    window, opened = cardboard(qtbot, tmp_path), []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    for url in (
        "file:///etc/passwd",
        "https://arxiv.org.evil.org/abs/1",
        "javascript:1",
        "http://arxiv.org/abs/1",
        "preset:99",
        "preset:x",
    ):
        window.explain._clicked(QUrl(url))
    assert opened == []
    window.explain._clicked(QUrl("https://arxiv.org/abs/2103.00065"))
    assert opened == ["https://arxiv.org/abs/2103.00065"]


def test_a_presets_link_starts_it(qtbot, tmp_path):
    window = cardboard(qtbot, tmp_path)
    window.explain._clicked(QUrl("preset:1"))
    assert window.link.of(Start)[-1].preset == "wide"


def test_numbers_follow_the_slider(qtbot, tmp_path):
    window = cardboard(qtbot, tmp_path)
    window.lab.values["lr"] = 0.5
    window.link.say(fake.predicted("?999", 4.0))
    assert live_numbers(window.lab.card, window.lab, window.store) == "η = 0.5  ·  2/η = 4"
    assert window.explain.numbers.text() == "η = 0.5  ·  2/η = 4"


def test_a_formula_under_the_pointer_lights_its_sliders(qtbot, tmp_path):
    window = cardboard(qtbot, tmp_path)
    formula, knobs = window.explain._formulae[0]
    assert knobs == {"lr"}
    QApplication.sendEvent(formula, QEvent(QEvent.Type.Enter))
    assert window.parameters.controls["lr"]._lit and not window.parameters.controls["width"]._lit
    QApplication.sendEvent(formula, QEvent(QEvent.Type.Leave))
    assert not window.parameters.controls["lr"]._lit
