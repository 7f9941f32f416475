"""Arithmetic of colour: contrast as WCAG defines it, distance as eyes see it, and what dichromats see.

Used to check the tokens (tests) and to shade a run's colour without losing contrast. Colours are `#rrggbb`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Vision = Literal["normal", "protanopia", "deuteranopia", "tritanopia"]
VISIONS: tuple[Vision, ...] = ("normal", "protanopia", "deuteranopia", "tritanopia")

# Machado, Oliveira, Fernandes 2009, severity 1.0; they act on linear RGB.
_SEEN: dict[Vision, np.ndarray] = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
_WHITE = _XYZ.sum(axis=1)  # D65


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def _hex(rgb: np.ndarray) -> str:
    return "#" + "".join(f"{round(255 * float(c)):02X}" for c in np.clip(rgb, 0, 1))


def _linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(_linear(_rgb(colour)) @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio, 1 to 21."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mix(a: str, b: str, t: float) -> str:
    """`a` at t = 0, `b` at t = 1, straight through sRGB."""
    return _hex((1 - t) * _rgb(a) + t * _rgb(b))


def lab(colour: str, vision: Vision = "normal") -> np.ndarray:
    """CIELAB (D65) of the colour as that vision sees it."""
    seen = np.clip(_SEEN[vision] @ _linear(_rgb(colour)), 0, 1)
    t = _XYZ @ seen / _WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a: str, b: str, vision: Vision = "normal") -> float:
    """CIE 1976 ΔE. About 2 is just visible side by side; thin lines apart need some 10."""
    return float(np.linalg.norm(lab(a, vision) - lab(b, vision)))


def closest(colours: tuple[str, ...], vision: Vision) -> tuple[float, str, str]:
    """The pair of colours that this vision tells apart worst, and their distance."""
    pairs = [(a, b) for i, a in enumerate(colours) for b in colours[i + 1 :]]
    return min((distance(a, b, vision), a, b) for a, b in pairs)


def shade(colour: str, surface: str, part: float, least: float = 3.0) -> str:
    """`colour` faded towards `surface` by `part` in [0, 1] of what keeps a contrast of `least` on it."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        if contrast(mix(colour, surface, middle), surface) >= least:
            low = middle
        else:
            high = middle
    return mix(colour, surface, part * low)
