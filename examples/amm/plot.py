"""Two small charts as SVG, written by hand: the pool's price swap by swap, and how often each trader had to sign."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH, HEIGHT, MARGIN = 960, 320, 56
COLORS: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")
STYLE: Final = "font: 12px sans-serif; fill: #333"


@dataclass(frozen=True, slots=True)
class Point:
    """A value and the kind that colors it."""

    value: float
    kind: str


def dots(title: str, points: Sequence[Point]) -> str:
    """Values in order, as dots on a thin line."""
    scale = _Scale(len(points), min(p.value for p in points), max(p.value for p in points))
    path = " ".join(f"{scale.x(i + 0.5):.1f},{scale.y(point.value):.1f}" for i, point in enumerate(points))
    marks = [f'<polyline points="{path}" fill="none" stroke="#ccc"/>']
    colors = _colors(points)
    marks += [
        f'<circle cx="{scale.x(i + 0.5):.1f}" cy="{scale.y(p.value):.1f}" r="2.5" fill="{colors[p.kind]}"/>'
        for i, p in enumerate(points)
    ]
    return _chart(title, scale, colors, marks)


def bars(title: str, points: Sequence[Point]) -> str:
    """Values in order, as bars from zero."""
    scale = _Scale(len(points), 0, max(p.value for p in points))
    colors = _colors(points)
    width = max(scale.x(1) - scale.x(0) - 0.5, 0.5)
    marks = [
        f'<rect x="{scale.x(i):.1f}" y="{scale.y(p.value):.1f}" width="{width:.1f}" '
        f'height="{scale.y(0) - scale.y(p.value):.1f}" fill="{colors[p.kind]}"/>'
        for i, p in enumerate(points)
    ]
    return _chart(title, scale, colors, marks)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From counts and values to pixels."""

    count: int
    least: float
    most: float

    def x(self, place: float) -> float:
        return MARGIN + place * (WIDTH - 2 * MARGIN) / self.count

    def y(self, value: float) -> float:
        return HEIGHT - MARGIN - (value - self.least) * (HEIGHT - 2 * MARGIN) / ((self.most - self.least) or 1)


def _colors(points: Iterable[Point]) -> dict[str, str]:
    return dict(zip(dict.fromkeys(point.kind for point in points), COLORS, strict=False))


def _chart(title: str, scale: _Scale, colors: dict[str, str], marks: Iterable[str]) -> str:
    """Marks with a title, a legend and an axis of values. Titles and kinds are our own words: nothing is escaped."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="24" style="{STYLE}; font-weight: bold">{title}</text>',
    ]
    for i in range(5):
        value = scale.least + i * (scale.most - scale.least) / 4
        y = scale.y(value)
        lines.append(f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
        lines.append(f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" style="{STYLE}" text-anchor="end">{value:.4g}</text>')
    lines += marks
    for i, (kind, color) in enumerate(colors.items()):
        x = MARGIN + 180 * i
        lines.append(f'<circle cx="{x}" cy="{HEIGHT - 20}" r="5" fill="{color}"/>')
        lines.append(f'<text x="{x + 10}" y="{HEIGHT - 16}" style="{STYLE}">{kind}</text>')
    return "\n".join([*lines, "</svg>\n"])
