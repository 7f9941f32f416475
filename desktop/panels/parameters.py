"""The knobs of the open experiment, its presets, seeds, precision and device."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from desktop import theme
from desktop.lab import Lab
from desktop.panels.common import Combo, Panel, label
from desktop.panels.gallery import spelt
from desktop.widgets.knob import KnobControl
from desktop.widgets.knob_values import Ticks
from engine.spec import Knob, Value

OWN = "own values"


def spread(knob: Knob, now: Value, count: int = 5) -> list[Value]:
    """Values to sweep: every choice, or `count` around the present one, evenly along the slider and in its range."""
    if knob.kind == "choice":
        return list(knob.choices)
    ticks = Ticks(knob)
    at, reach = ticks.tick(float(now)), max(1, (ticks.last - ticks.first) // 4)
    low = min(max(at - reach, ticks.first), ticks.last - 2 * reach)
    marks = [ticks.value(low + 2 * reach * i // (count - 1)) for i in range(count)]
    return list(dict.fromkeys(marks))


class Parameters(Panel):
    hovered = Signal(str)  # a knob under the pointer or with focus, or nothing

    def __init__(self, lab: Lab, parent: QWidget | None = None) -> None:
        super().__init__("Parameters", parent)
        self.lab = lab
        self.controls: dict[str, KnobControl] = {}
        self.preset = Combo("Preset")
        self.preset.activated.connect(self._preset_chosen)
        self.preset_text = label(role="caption", wrap=True)
        self.preset_text.setContentsMargins(8, 0, 8, 0)
        top = QHBoxLayout()
        top.setContentsMargins(8, 0, 8, 0)
        top.addWidget(self.preset, 1)
        self.body.addLayout(top)
        self.body.addWidget(self.preset_text)

        self._knobs = QWidget()
        self._column = QVBoxLayout(self._knobs)
        self._column.setContentsMargins(0, 0, 4, 0)
        self._column.setSpacing(2)
        self.scroller = QScrollArea()
        self.scroller.setWidgetResizable(True)
        self.scroller.setFrameShape(QFrame.Shape.NoFrame)
        self.scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroller.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.scroller.setAccessibleName("Parameters")
        self.scroller.setWidget(self._knobs)
        self.scroller.viewport().setAutoFillBackground(False)
        self._knobs.setAutoFillBackground(False)
        self.body.addWidget(self.scroller, 1)
        self._build_foot()
        lab.experiment_changed.connect(self._build)
        lab.values_changed.connect(self._show)
        lab.store.catalogue_changed.connect(self._devices)

    def _build_foot(self) -> None:
        self.seeds = QSpinBox()
        self.seeds.setRange(1, 256)
        self.seeds.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.seeds.setAccessibleName("Seeds")
        self.seeds.setToolTip("Networks that differ in nothing but their random seed")
        self.seeds.setKeyboardTracking(False)
        self.seeds.valueChanged.connect(self.lab.set_seeds)
        self.dtype = Combo("Precision")
        self.dtype.addItems(["float32", "float64"])
        self.dtype.textActivated.connect(self.lab.set_dtype)
        self.device = Combo("Device")
        self.device.textActivated.connect(self.lab.set_device)
        self.randomise = QPushButton("Randomise")
        self.randomise.setIcon(theme.icon("dice"))
        self.randomise.setToolTip("Random values for every knob that is not locked")
        self.randomise.setAccessibleName("Randomise unlocked parameters")
        self.randomise.clicked.connect(self.lab.randomise)
        self.reset = QPushButton("Reset")
        self.reset.setIcon(theme.icon("reset"))
        self.reset.setToolTip("Back to the preset's values")
        self.reset.setAccessibleName("Reset parameters")
        self.reset.clicked.connect(self.lab.reset)
        foot = QGridLayout()
        foot.setContentsMargins(8, 6, 8, 4)
        foot.setSpacing(8)
        self._device_label = label("Device", "caption")
        foot.addWidget(label("Seeds", "caption"), 0, 0)
        foot.addWidget(self.seeds, 0, 1)
        foot.addWidget(label("Precision", "caption"), 0, 2)
        foot.addWidget(self.dtype, 0, 3)
        foot.addWidget(self._device_label, 1, 0)
        foot.addWidget(self.device, 1, 1, 1, 3)
        foot.addWidget(self.randomise, 2, 0, 1, 2)
        foot.addWidget(self.reset, 2, 2, 1, 2)
        foot.setColumnStretch(1, 1)
        foot.setColumnStretch(3, 1)
        self.body.addLayout(foot)
        self._foot = [self.seeds, self.dtype, self.device, self.randomise, self.reset]
        for w in (self.preset, *self._foot):
            w.setEnabled(False)  # until there is a result to set
        self._devices()

    def _devices(self) -> None:
        several = len(self.lab.store.devices) > 1
        with QSignalBlocker(self.device):
            self.device.clear()
            self.device.addItems(list(self.lab.store.devices))
            self.device.setCurrentText(self.lab.device)
        self.device.setVisible(several)
        self._device_label.setVisible(several)

    # --- an experiment's form ---

    def _build(self) -> None:
        for control in self.controls.values():
            self._column.removeWidget(control)
            control.hide()
            control.deleteLater()
        self.controls = {}
        while (item := self._column.takeAt(0)) is not None:
            del item
        card = self.lab.card
        if card is None:
            return
        for knob in card.knobs:
            control = KnobControl(knob)
            self.controls[knob.name] = control
            self._column.addWidget(control)
            control.changed.connect(self.lab.move)
            control.committed.connect(self.lab.commit)
            control.locked_changed.connect(self._locked)
            control.sweep_dismissed.connect(lambda name: self.lab.set_sweep(name, None))
            control.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
            control.customContextMenuRequested.connect(
                lambda at, name=knob.name: self._menu(name, at)
            )
            control.installEventFilter(self)
        self._column.addStretch(1)
        for w in (self.preset, *self._foot):
            w.setEnabled(True)
        with QSignalBlocker(self.preset):
            self.preset.clear()
            for preset in card.presets:
                self.preset.addItem(spelt(preset.name), preset.name)
            self.preset.addItem(OWN.capitalize(), "")
        self.preset.setVisible(bool(card.presets))
        self.scroller.verticalScrollBar().setValue(0)
        self._order()
        self._show()

    def _order(self) -> None:
        """Tab goes down the form, then to the foot."""
        chain: list[QWidget] = [self.preset]
        for c in self.controls.values():
            chain += [w for w in (c.slider, c.entry, c.choice) if w is not None]
        chain += [self.seeds, self.dtype, self.device, self.randomise, self.reset]
        for a, b in zip(chain, chain[1:], strict=False):
            QWidget.setTabOrder(a, b)

    def _show(self) -> None:
        lab, card = self.lab, self.lab.card
        if card is None:
            return
        for name, control in self.controls.items():
            control.set_swept(lab.sweep.get(name))
            if name in lab.values and name not in lab.sweep and control.value() != lab.values[name]:
                try:
                    control.set_value(lab.values[name], quiet=True)
                except ValueError:
                    pass  # an opened file may hold what no slider allows; the engine has said so
        with QSignalBlocker(self.seeds):
            self.seeds.setValue(lab.seeds)
        with QSignalBlocker(self.dtype):
            self.dtype.setCurrentText(lab.dtype or card.dtype)
        with QSignalBlocker(self.device):
            self.device.setCurrentText(lab.device)
        with QSignalBlocker(self.preset):
            self.preset.setCurrentIndex(max(0, self.preset.findData(lab.preset)))
        chosen = next((p for p in card.presets if p.name == lab.preset), None)
        self.preset_text.setText(chosen.text if chosen else "")
        self.preset_text.setVisible(bool(chosen and chosen.text))

    # --- what a person does ---

    def _preset_chosen(self, index: int) -> None:
        name = self.preset.itemData(index)
        if name:
            self.lab.choose_preset(name)
        else:
            self._show()  # "own values" is no choice, only a state

    def _locked(self, name: str, on: bool) -> None:
        (self.lab.locked.add if on else self.lab.locked.discard)(name)

    def _menu(self, name: str, at: QPoint) -> None:
        control, knob = self.controls[name], self.lab.knob(name)
        menu = QMenu(control)
        swept = name in self.lab.sweep
        if not swept:
            values = spread(knob, self.lab.values[name])
            menu.addAction(
                f"Sweep {len(values)} values", lambda: self.lab.set_sweep(name, values)
            ).setEnabled(len(values) > 1)
        else:
            menu.addAction("One value again", lambda: self.lab.set_sweep(name, None))
        menu.addAction("Reset", lambda: self.lab.commit(name, knob.default))
        menu.addAction(
            "Unlock" if control.locked else "Lock", lambda: control.set_locked(not control.locked)
        )
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(control.mapToGlobal(at))

    def focus_knob(self, name: str) -> None:
        if name in self.controls:
            self.scroller.ensureWidgetVisible(self.controls[name])
            self.controls[name].focus_entry()

    def highlight(self, names: set[str]) -> None:
        for name, control in self.controls.items():
            control.highlight(name in names)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(watched, KnobControl):
            if event.type() == QEvent.Type.Enter:
                self.hovered.emit(watched.knob.name)
            elif event.type() == QEvent.Type.Leave:
                self.hovered.emit("")
        return False
