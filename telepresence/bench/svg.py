"""Plots as SVG text, without a plotting library: colours are the page's own, so they follow light, dark and print."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

Point = tuple[float, float]
WIDTH: Final = 960
CHAR: Final = 6.6  # pixels of a character at the plots' size, about


def text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "label") -> str:
    """Words at a place; `kind` is a class of the page's style."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def line(a: Point, b: Point, kind: str = "grid") -> str:
    """A straight line."""
    return f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" class="{kind}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    """A bar; the title is shown when it is pointed at."""
    told = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.0):.1f}" height="{height:.1f}" rx="2" class="{kind}">'
        f"{told}</rect>"
    )


def path(points: Sequence[Point], kind: str) -> str:
    """A line through points."""
    if not points:
        return ""
    return f'<path class="{kind}" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + '"/>'


def dots(points: Iterable[Point], kind: str, radius: float = 1.6) -> str:
    """Many small round marks as one path."""
    marks = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return f'<path class="{kind}" d="{marks}" stroke-width="{2 * radius}" stroke-linecap="round"/>' if marks else ""


def drawing(height: float, parts: Iterable[str], label: str, width: float = WIDTH) -> str:
    """The whole plot; `label` is what a screen reader says."""
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, count)
    power = 10 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A tick's label."""
    return f"{value:g}"


@dataclass
class Axes:
    """A frame with two axes; `at` puts data into it."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 52
    top: float = 12
    width: float = WIDTH - 52 - 120
    height: float = 240
    x_title: str = ""
    y_title: str = ""
    log_x: bool = False
    x_ticks: Sequence[float] = field(default_factory=tuple)
    y_ticks: Sequence[float] = field(default_factory=tuple)
    format_y: Callable[[float], str] = number

    def at(self, x: float, y: float) -> Point:
        """Data -> pixels; what is outside stays at the edge."""
        low, high = (math.log10(v) for v in self.x) if self.log_x else self.x
        along = math.log10(max(x, 1e-9)) if self.log_x else x
        across = (along - low) / (high - low or 1)
        up = (y - self.y[0]) / (self.y[1] - self.y[0] or 1)
        return self.left + self.width * min(1, max(0, across)), self.top + self.height * (1 - min(1, max(0, up)))

    def frame(self) -> list[str]:
        """Grid, labels and titles."""
        parts = []
        for value in self.y_ticks or ticks(*self.y, 5):
            _, y = self.at(self.x[0], value)
            parts += [
                line((self.left, y), (self.left + self.width, y)),
                text(self.left - 8, y + 4, self.format_y(value), anchor="end"),
            ]
        bottom = self.top + self.height
        for value in self.x_ticks or ticks(*self.x, 8):
            x, _ = self.at(value, self.y[0])
            parts += [line((x, bottom), (x, bottom + 4), "axis"), text(x, bottom + 18, number(value), anchor="middle")]
        parts.append(line((self.left, bottom), (self.left + self.width, bottom), "axis"))
        if self.x_title:
            parts.append(text(self.left + self.width, bottom + 36, self.x_title, anchor="end", kind="title"))
        if self.y_title:
            parts.append(text(self.left - 44, self.top - 14, self.y_title, kind="title"))
        return parts


def spread(places: Sequence[float], gap: float, most: float) -> list[float]:
    """Heights of labels moved apart so that none covers another, the lowest at `most`; in the order given."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    out = list(places)
    for before, i in itertools.pairwise(order):
        out[i] = max(out[i], out[before] + gap)
    for i in reversed(order):
        out[i] = min(out[i], most)
        most = out[i] - gap
    return out
