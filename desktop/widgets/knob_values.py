"""Between a knob's values, the text of its entry and the ticks of its slider. No Qt.

A slider has whole ticks. On a log scale tick k stands for 10^(k/100), so a tenth of a decade is ten ticks and the
powers of ten lie on ticks whatever the range; on a linear scale there are a thousand ticks, or one for each integer.
The value is kept beside the slider, never read back from it, so that 0.1 stays 0.1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from engine.spec import Knob, Value

PER_DECADE = 100  # ticks
PER_RANGE = 1000  # ticks of a linear scale

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_NUMBER = r"[+-]?(?:\d+(?:[.]\d*)?|[.]\d+)(?:[eE][+-]?\d+)?"
_PLAIN = re.compile(rf"({_NUMBER})")
_POWER = re.compile(rf"(?:({_NUMBER})[x*])?({_NUMBER})\^({_NUMBER})")
_RATIO = re.compile(rf"({_NUMBER})/({_NUMBER})")
_TIMES = re.compile(rf"[x*]({_NUMBER})")
_OVER = re.compile(rf"/({_NUMBER})")


def format_number(value: float) -> str:
    """At most six digits, never rounded to 0: `0.1`, `1e-5`, `4096`, `2.5e7`."""
    text = f"{value:.6g}"
    if "e" in text:
        digits, exponent = text.split("e")
        text = f"{digits}e{int(exponent)}"
    return text


def format_value(knob: Knob, value: Value) -> str:
    """The value as the entry shows it and the screen reader speaks it."""
    if knob.kind == "choice":
        return str(value)
    if knob.kind == "int":
        return str(int(value))
    return format_number(float(value))


def format_short(value: Value) -> str:
    return format_number(float(value)) if isinstance(value, (int, float)) else str(value)


def parse_value(knob: Knob, text: str, now: Value) -> Value:
    """What a person typed: `0.1`, `0,1`, `1e-3`, `2^7`, `1/3`, `10⁻³`, relative `x2` and `/2`, with or without unit.

    A comma is a decimal comma. Raises the ValueError of `Knob.check`.
    """
    if knob.kind == "choice":
        return knob.check(text.strip())
    number = _number(knob, text, float(now))
    if number is None:
        return knob.check(text.strip() or "nothing")  # raises, naming what was typed
    for end in (knob.low, knob.high):
        if number == float(format_number(end)):
            number = end  # an end as it is shown, in six digits, must not lie outside
    if knob.kind == "int" and abs(number - round(number)) < 1e-9 * max(1.0, abs(number)):
        number = round(number)  # 128/3*3 is whole but for rounding
    return knob.check(number)


def _number(knob: Knob, text: str, now: float) -> float | None:
    text = text.strip()
    if knob.unit and text.endswith(knob.unit):
        text = text.removesuffix(knob.unit)
    text = re.sub(r"(?<=\d)([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: "^" + m[1].translate(_SUPERSCRIPTS), text)
    text = text.replace("−", "-").replace("×", "x").replace("·", "x").replace("**", "^")
    text = text.replace("X", "x").replace(" ", "").replace("\u00a0", "").replace("\u202f", "")
    if text.count(",") > 1 or ("," in text and "." in text):
        return None
    text = text.replace(",", ".")
    try:
        if m := _PLAIN.fullmatch(text):
            return float(m[1])
        if m := _POWER.fullmatch(text):
            power = float(m[2]) ** float(m[3])
            return float(m[1] or 1) * power if isinstance(power, float) else None
        if m := _RATIO.fullmatch(text):
            return float(m[1]) / float(m[2])
        if m := _TIMES.fullmatch(text):
            return now * float(m[1])
        if m := _OVER.fullmatch(text):
            return now / float(m[1])
    except (OverflowError, ZeroDivisionError):
        return None
    return None


@dataclass(frozen=True)
class Ticks:
    """The slider of one number knob: its range in ticks, and the way between ticks and values."""

    knob: Knob

    @property
    def log(self) -> bool:
        return self.knob.scale == "log"

    @property
    def first(self) -> int:
        return math.floor(PER_DECADE * math.log10(self.knob.low) + 1e-9) if self.log else 0

    @property
    def last(self) -> int:
        if self.log:
            return math.ceil(PER_DECADE * math.log10(self.knob.high) - 1e-9)
        span = self.knob.high - self.knob.low
        return int(span) if self.knob.kind == "int" and span <= PER_RANGE else PER_RANGE

    def tick(self, value: float) -> int:
        """The tick nearest to a value."""
        if self.log:
            k = round(PER_DECADE * math.log10(value))
        else:
            part = (value - self.knob.low) / (self.knob.high - self.knob.low)
            k = round(part * self.last)
        return min(max(k, self.first), self.last)

    def value(self, tick: int) -> Value:
        """The value of a tick, in few digits; the ends are the knob's own."""
        knob = self.knob
        if tick <= self.first:
            number = knob.low
        elif tick >= self.last:
            number = knob.high
        elif self.log:
            exact = 10 ** (tick / PER_DECADE)
            number = round(exact, 2 - math.floor(math.log10(exact)))  # three digits: a third tick
        else:
            width = (knob.high - knob.low) / self.last
            exact = knob.low + width * tick
            number = round(exact, max(0, math.ceil(-math.log10(width))))
        if knob.kind == "int":
            number = min(max(round(number), math.ceil(knob.low)), math.floor(knob.high))
        return knob.check(min(max(number, knob.low), knob.high))

    def step(self, value: Value, by: int) -> Value:
        """`by` arrow steps from a value (ten make a page): tenths of a decade, hundredths of the range, and at
        least one whole number."""
        knob, now = self.knob, float(value)
        if self.log:
            tick = self.tick(now) + by * PER_DECADE // 10
        elif knob.kind == "int" and self.last < PER_RANGE:
            tick = self.tick(now) + by * max(1, round(self.last / 100))
        else:
            tick = self.tick(now) + by * PER_RANGE // 100
        new = self.value(min(max(tick, self.first), self.last))
        if knob.kind == "int" and float(new) == now:
            new = int(now) + (1 if by > 0 else -1)
            new = min(max(new, math.ceil(knob.low)), math.floor(knob.high))
        return new
