"""What is said, once and in one sentence; what can be done about it stands beside it."""

import logging

import pytest
from PySide6.QtWidgets import QDialogButtonBox, QFileDialog

from desktop.panels import choosing
from desktop.repeats import FIRST, KEPT, MOST, Repeats
from engine.messages import Checkpoint, Control, Opened, Save, Saved, Start, Status
from tests.desktop import fake
from tests.desktop.parts import make_window, settle


@pytest.fixture
def window(qtbot, tmp_path):
    return make_window(qtbot, tmp_path)


def words(window):
    b = window.notice.buttons
    return [b.itemAt(i).widget().text() for i in range(b.count())]


def answer(window, word):
    window.notice.buttons.itemAt(words(window).index(word)).widget().click()


def fail(window, why="RuntimeError: out of memory (8 GB asked for)"):
    run = window.store.current
    window.link.say(Status(run, "failed", 30, why))
    return run


# --- runs that fail or do not answer ---


def test_a_failure_is_said_once_with_what_helps(window):
    run = fail(window)
    fail(window)
    assert len(window.notice.said()) == 1
    assert "out of memory" in window.notice.text.text()
    assert words(window) == ["Resume"]
    answer(window, "Resume")
    assert window.link.of(Control)[-1] == Control(run, "resume")
    assert not window.notice.isVisible()


def test_a_failure_that_is_over_is_no_longer_said(window):
    run = fail(window)
    window.link.say(Status(run, "running", 30))
    assert not window.notice.isVisible()
    window.link.say(Status(run, "failed", 40, "again"))
    assert "again" in window.notice.text.text()


def test_a_run_that_failed_on_a_gpu_can_go_on_on_the_cpu(window):
    run = window.store.current
    window.store.runs[run].device = "cuda:0"
    window.link.say(Checkpoint(run, 20, 0, {}), Checkpoint(run, 10, 0, {}))
    fail(window, "the GPU cuda:0 is gone")
    assert words(window) == ["Resume on the CPU", "Resume"]
    answer(window, "Resume on the CPU")
    start = window.link.of(Start)[-1]
    assert (start.device, start.parent, start.parent_step, start.paused) == ("cpu", run, 20, False)
    assert window.store.current == start.run


def test_without_a_checkpoint_it_begins_anew_on_the_cpu(window):
    run = window.store.current
    window.store.runs[run].device = "cuda:0"
    fail(window)
    answer(window, "Resume on the CPU")
    start = window.link.of(Start)[-1]
    assert (start.device, start.parent) == ("cpu", "")


def test_the_list_and_the_transport_show_a_failed_run(window):
    fail(window)
    settle(window)
    assert window.transport.state.text().startswith("failed · step 30")
    assert "out of memory" in window.transport.state.toolTip()
    index = window.runs.model.index(0, 0)
    assert window.runs.model.data(index, 11).endswith(", failed")  # for a screen reader
    assert window.transport.play.text() == "Resume"


def test_a_run_that_does_not_answer_says_so_and_can_be_stopped(window):
    run = window.store.current
    window.link.say(Status(run, "running", 30, "its process has not answered for 3 s"))
    settle(window)
    assert "not answered" in window.notice.text.text()
    assert words(window) == ["Stop"]
    assert "does not answer" in window.transport.state.text()
    assert window.runs.model.data(window.runs.model.index(0, 0), 11).endswith(", no answer")
    window.link.say(Status(run, "running", 31))
    assert not window.notice.isVisible()
    window.link.say(Status(run, "running", 31, "its process has not answered for 3 s"))
    answer(window, "Stop")
    assert window.link.of(Control)[-1] == Control(run, "cancel")


def test_what_the_engine_says_is_wrong_is_in_the_log_once(window, caplog):
    with caplog.at_level(logging.INFO, "lemmascope"):
        fail(window)
        fail(window)
    assert [r.message for r in caplog.records if "out of memory" in r.message] == [
        f"{window.store.run().shown_name} failed: RuntimeError: out of memory (8 GB asked for)"
    ]


# --- the bar itself ---


def test_the_same_sentence_is_counted(window):
    for _ in range(3):
        window.notice.say("error", "It happened.")
    window.notice.say("error", "It happened.", 60)
    assert window.notice.said() == ["It happened."]
    assert window.notice.more.text() == "63 times"


def test_a_question_waits_in_front_of_what_is_said_meanwhile(window):
    window.notice.ask("Shall it?", {"Yes": lambda: None, "No": lambda: None})
    window.notice.say("error", "Something else.")
    assert window.notice.text.text() == "Shall it?"
    assert words(window) == ["Yes", "No"]
    answer(window, "No")
    assert window.notice.text.text() == "Something else."
    assert words(window) == []


def test_many_answers_leave_the_sentence_its_room(window):
    window.notice.ask("A sentence of some length that has to be read before one answers?",
                      {"First of the answers": print, "Second of them": print, "Cancel": print})  # fmt: skip
    settle(window)
    assert window.notice.text.width() > 0.6 * window.notice.width()
    assert words(window) == ["First of the answers", "Second of them", "Cancel"]


def test_only_the_last_few_are_kept(window):
    for i in range(100):
        window.notice.say("error", f"number {i}")
    assert len(window.notice.said()) == 20


# --- sessions ---


def session(window, **more):
    window.link.answer = False
    for m in fake.stream("file"):
        window.link.say(m)
    window.link.say(Opened("/x/mine.lemma.h5", ("file",), **more))


def test_a_notice_of_the_file_is_shown(window):
    session(window, notice="mine.lemma.h5 is of a newer version (1.3); what it adds is left out.")
    assert "newer version" in window.notice.text.text()


def test_a_session_that_another_holds_is_read_only_and_names_the_holder(window):
    session(window, held="process 4711 on pc7")
    assert "mine.lemma.h5 (read only: open in process 4711 on pc7)" in window.windowTitle()
    assert "process 4711 on pc7" in window.notice.text.text()
    window.registry.run("file.save")
    assert window.link.of(Save) == []
    (dialog,) = window.findChildren(QFileDialog)
    assert dialog.selectedFiles()[0].endswith("mine (2).lemma.h5")
    dialog.fileSelected.emit("/x/mine (2).lemma.h5")
    dialog.close()
    assert window.link.of(Save)[-1].path == "/x/mine (2).lemma.h5"
    window.link.say(Saved("/x/mine (2).lemma.h5"))
    assert window.store.held == "" and "read only" not in window.windowTitle()
    window.registry.run("file.save")
    assert window.link.of(Save)[-1].path == "/x/mine (2).lemma.h5"


def test_a_file_that_is_no_session_is_replaced_only_when_told_so(window, tmp_path):
    from engine.sessions import saver

    window.link.answer = False
    path = tmp_path / "thesis.h5"
    path.write_bytes(b"years of work")
    window.files.save_to(str(path))
    assert not window.link.of(Save)[-1].overwrite
    with pytest.raises(OSError) as said:  # noqa: PT011  the saver's own words decide
        saver.check_place(str(path), False)
    window.link.say(Saved(str(path), str(said.value)))
    assert words(window) == ["Save under another name", "Replace it", "Cancel"]
    assert not any("Not saved" in t for t in window.notice.said())
    answer(window, "Replace it")
    save = window.link.of(Save)[-1]
    assert (save.path, save.overwrite) == (str(path), True)
    window.link.say(Saved(str(path)))
    window.registry.run("file.save")
    assert not window.link.of(Save)[-1].overwrite


def test_what_waited_for_the_save_waits_for_the_answer(window, tmp_path):
    window.link.answer = False
    window.store.path = str(tmp_path / "thesis.h5")
    window.store.set_modified(True)
    window.close()
    answer(window, "Save")
    window.link.say(Saved(window.store.path, "the file there is no Lemmascope session"))
    assert window.isVisible()
    answer(window, "Replace it")
    assert window.isVisible()
    window.link.say(Saved(window.store.path))
    assert not window.isVisible()


def test_the_file_dialogs_wear_our_icons(window):
    window.registry.run("file.save_as")
    (dialog,) = window.findChildren(QFileDialog)
    boxes = dialog.findChildren(QDialogButtonBox)
    icons = [b.icon() for box in boxes for b in box.buttons()]
    assert len(icons) == 2 and all(i.isNull() for i in icons)
    assert dialog.iconProvider() is choosing._icons()
    dialog.close()


# --- errors that come again and again ---


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_repeats_are_counted_at_growing_intervals():
    clock = Clock()
    r = Repeats(clock)
    assert r.first("a", "it")
    told = []
    for _ in range(6000):  # 100 s at 60 Hz
        clock.now += 1 / 60
        assert not r.first("a", "it")
        told += [(round(clock.now), s.again) for s in r.sums()]
    assert len(told) <= 8
    assert sum(n for _, n in told) <= 6000
    assert [t for t, _ in told[:4]] == [1, 3, 7, 15]
    assert r.due() is not None


def test_after_a_long_silence_an_error_is_new():
    clock = Clock()
    r = Repeats(clock)
    assert r.first("a", "it")
    clock.now += 3 * MOST
    assert r.first("a", "it")
    clock.now += FIRST / 2
    assert not r.first("a", "it")


def test_different_errors_do_not_hide_each_other_and_memory_is_bounded():
    r = Repeats(Clock())
    assert all(r.first(i, str(i)) for i in range(10 * KEPT))
    assert len(r._seen) == KEPT
