"""Each prediction's convention stands on the page that the window shows of its experiment."""

import html

from desktop.panels.explain import page_html


def test_every_convention_is_shown():
    from engine import catalogue

    found, _ = catalogue.load()
    assert found
    head = "<p class='head'>Convention</p>"
    for card in map(catalogue.card, found.values()):
        page = page_html(card)
        assert page.count(head) == 1, card.name
        shown = page.split(head)[1]
        for p in card.predictions:
            said = f"<p>{html.escape(p.convention)}</p>"
            assert p.convention and said in shown, (card.name, p.name)
