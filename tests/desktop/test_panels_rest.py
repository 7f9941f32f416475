"""Gallery, parameters, transport, runs, export dialog, log."""

import pytest
from PySide6.QtCore import Qt

from desktop import loop
from desktop.panels.dialogs import LogWindow
from desktop.panels.exporting import ExportDialog
from desktop.panels.gallery import KEY, spelt
from desktop.panels.parameters import spread
from desktop.panels.transport import Pace, duration
from desktop.runs import Run
from desktop.window_actions import command_of
from engine.cli import parser
from engine.messages import Start, Status
from engine.spec import Knob
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


@pytest.fixture
def window(qtbot, tmp_path):
    window = make_window(qtbot, tmp_path)
    window.lab.show("stability/cardboard")
    settle(window)
    return window


def entries(window):
    return [(i.text(0), i.data(0, KEY)) for i in window.gallery.items()]


def test_the_gallery_lists_areas_results_and_the_open_ones_presets(window):
    assert entries(window) == [
        ("Kernels and width", None),
        ("Paper", ("kernels/paper", "")),
        ("Stability", None),
        ("Cardboard", ("stability/cardboard", "")),
        ("Default", ("stability/cardboard", "default")),
        ("Wide", ("stability/cardboard", "wide")),
        ("Widths", ("stability/cardboard", "widths")),
    ]


def test_the_search_finds_by_title_and_return_opens(window, qtbot):
    qtbot.keyClicks(window.gallery.search, "has kernels")
    assert [k[0] for _, k in entries(window) if k] == ["kernels/paper"]
    qtbot.keyClick(window.gallery.search, Qt.Key.Key_Return)
    assert window.lab.card.name == "kernels/paper"
    qtbot.keyClick(window.gallery.search, Qt.Key.Key_Escape)
    assert window.gallery.search.text() == ""
    qtbot.keyClicks(window.gallery.search, "zzzz")
    assert [t for t, _ in entries(window)] == ["Nothing matches."]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("sgd_stability", "SGD stability"),
        ("ntk", "NTK"),
        ("edge_of_stability", "Edge of stability"),
    ],
)
def test_keys_are_spelt(key, words):
    assert spelt(key) == words


@pytest.mark.parametrize(
    "knob",
    [
        *fake.knobs(),
        Knob("few", "int", 2, 1, 3, label="Few", meaning="Few."),
        Knob("end", "real", 1.0, 0.0, 1.0, label="End", meaning="End."),
    ],
)
def test_a_sweep_stays_inside_its_knob(knob):
    for now in (knob.default, *((knob.low, knob.high) if knob.kind != "choice" else ())):
        values = spread(knob, int(now) if knob.kind == "int" else now)
        assert len(values) >= 2
        assert [knob.check(v) for v in values] == values
        assert len(set(values)) == len(values)
        if knob.kind != "choice":
            assert sorted(values) == values


def test_a_swept_knob_shows_its_values_and_comes_back(window, qtbot):
    control = window.parameters.controls["width"]
    window.lab.set_sweep("width", [16, 64, 256])
    assert "16…256" in control._range.text()
    control._reset.click()
    assert window.lab.sweep == {}
    assert control.entry.isVisible() or control.entry.isVisibleTo(control)


def test_seeds_start_a_run_with_so_many(window, qtbot):
    before = len(window.link.of(Start))
    window.parameters.seeds.setValue(7)
    qtbot.waitUntil(lambda: len(window.link.of(Start)) > before, timeout=2000)
    assert window.link.of(Start)[-1].seeds == 7


def test_devices_are_offered_only_where_there_is_a_choice(window):
    assert not window.parameters.device.isVisible()
    more = fake.catalogue()
    window.link.say(type(more)(more.cards, ("cpu", "cuda:0")))
    assert window.parameters.device.isVisible()
    window.parameters.device.textActivated.emit("cuda:0")
    assert window.lab.device == "cuda:0"


def test_pace_and_what_is_left():
    pace, run = Pace(), Run("a", state="running", steps=1000)
    for i in range(20):
        run.step = 40 * i
        rate = pace.rate(run, 100 + 0.25 * i)
    assert rate == pytest.approx(160)
    run.state = "paused"
    assert pace.rate(run, 106) == 0
    assert [duration(s) for s in (0.2, 8.4, 120, 7200)] == ["under 1 s", "8 s", "2 min", "2.0 h"]


def test_a_run_renamed_in_the_list_keeps_its_name(window):
    model = window.runs.model
    assert model.setData(model.index(0, 0), "mine")
    assert window.store.run().shown_name == "mine"
    model.setData(model.index(0, 0), "")
    assert window.store.run().shown_name == "default values"


def test_the_list_says_what_became_of_each_run(window):
    run = window.store.current
    model = window.runs.model

    def word():
        return model.data(
            model.index(model.ids.index(run), 0), Qt.ItemDataRole.AccessibleTextRole
        ).rpartition(", ")[2]

    window.link.say(Status(run, "stopped", 5, "diverged"))
    assert word() == "diverged"
    window.store.set_role(run, "pinned")
    assert word() == "pinned"
    window.store.set_solo(run)
    assert word() == "solo"


def test_a_run_as_a_command_is_understood_by_the_command_line(window):
    window.lab.choose_preset("widths")
    run = window.store.run()
    for m in fake.stream(run.id, window.link.of(Start)[-1])[:1]:
        window.link.say(m)
    words = command_of(window.store.run()).split()
    args = parser().parse_args(words[1:])
    assert args.name == "stability/cardboard"
    assert "width=16,64,256" in args.set and "lr=0.1" in args.set
    assert args.seeds == 2


def test_export_writes_every_chosen_form(window, qtbot, tmp_path):
    for m in fake.stream(window.store.current)[2:]:
        window.link.say(m)
    settle(window)
    plots = [(c.plot.accessibleName(), c.plot) for c in window.board.cells[:2]]
    dialog = ExportDialog(window, plots, lambda: {"experiment": "cardboard"})
    qtbot.addWidget(dialog)
    for box in dialog.formats.values():
        box.setChecked(True)
    dialog.which.setCurrentIndex(len(plots))
    told = []
    dialog.exported.connect(lambda files, why: told.append((files, why)))
    dialog.write(tmp_path / "fig.png")
    assert sorted(p.suffix for p in tmp_path.glob("fig-*")) == [
        ".csv",
        ".csv",
        ".pdf",
        ".pdf",
        ".png",
        ".png",
        ".svg",
        ".svg",
    ]
    assert len(told[0][0]) == 8 and told[0][1] == ""


def test_a_place_that_cannot_be_written_is_said(window, qtbot, tmp_path):
    dialog = ExportDialog(window, [("A", window.board.cells[0].plot)], dict)
    qtbot.addWidget(dialog)
    told = []
    dialog.exported.connect(lambda files, why: told.append((files, why)))
    dialog.write(tmp_path / "no" / "such" / "fig.png")
    assert told[0][0] == [] and "was not written" in told[0][1]


def test_the_log_window_reads_the_logs_end(window, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("LEMMASCOPE_STATE", str(tmp_path))
    shown = LogWindow(window)
    qtbot.addWidget(shown)
    shown.read()
    assert "Nothing has gone wrong" in shown.text.toPlainText()
    loop.log_file().write_text("old\n" * 100_000 + "the latest\n", encoding="utf-8")
    shown.read()
    assert shown.text.toPlainText().endswith("the latest\n")
    assert len(shown.text.toPlainText()) <= LogWindow.KEPT
