"""The colours and sizes of the light and the dark theme, as data, and the arithmetic of colour that checks them."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[float, float, float]  # each in [0, 1]


@dataclass(frozen=True)
class Tokens:
    """One theme. Every colour is `#rrggbb`; contrasts are checked in tests against `surface`."""

    name: str
    window: str
    surface: str
    raised: str  # hovered rows, pressed buttons
    hairline: str
    border: str  # outline of controls: 3 : 1 on `surface`, unlike the hairline
    text: str
    muted: str
    accent: str
    on_accent: str
    selection: str  # behind selected text and rows
    good: str
    bad: str
    caution: str
    runs: tuple[str, ...]
    captions: int = 11
    body: int = 13
    heading: int = 15
    title: int = 20


LIGHT = Tokens(
    name="light",
    window="#F6F7F9",
    surface="#FFFFFF",
    raised="#EDF0F5",
    hairline="#D5D9E0",
    border="#8A94A3",
    text="#1B2330",
    muted="#5B6675",
    accent="#2F5BD8",
    on_accent="#FFFFFF",
    selection="#DCE5FB",
    good="#00785A",
    bad="#B3261E",
    caution="#8A6100",
    runs=(
        "#0753B3", "#C45E0E", "#059E6E", "#A55292", "#644B00", "#6F8AD9", "#70237B", "#D03E3D",
    ),
)  # fmt: skip

DARK = Tokens(
    name="dark",
    window="#14171D",
    surface="#1C2129",
    raised="#262C36",
    hairline="#343B47",
    border="#6C7787",
    text="#E6EAF0",
    muted="#9AA5B4",
    accent="#86A8FF",
    on_accent="#14171D",
    selection="#2C3A5C",
    good="#2BC79A",
    bad="#FF8A80",
    caution="#E6C229",
    runs=(
        "#5688FA", "#DB792C", "#8DD99A", "#D188AC", "#E6C33E", "#76CFFF", "#888CDB", "#E95B59",
    ),
)  # fmt: skip
