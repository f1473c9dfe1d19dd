"""Small plots as SVG: one line a series over two axes, each with its unit; nothing but text and lines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 400
LEFT: Final = 84
RIGHT: Final = 20
TOP: Final = 84
BOTTOM: Final = 56
KEYS: Final = 64
LETTER: Final = 6.6
"""About as wide as a letter is at most, on average."""
COLOURS: Final = ("#0b5fa5", "#c2410c", "#2f7d32", "#7a3e9d", "#666666")
_MARK: Final = 4
_FONT: Final = 'font-family="system-ui, sans-serif" font-size="12" fill="#222"'


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """x is logarithmic; y is too, or begins at zero. `caption`: with what and how it was measured."""

    title: str
    caption: str
    x: str
    y: str
    series: Sequence[Series]
    log_y: bool = True

    def svg(self) -> str:
        xs = [x for one in self.series for x, _ in one.points]
        ys = [y for one in self.series for _, y in one.points]
        across, up = _decades(xs), _decades(ys) if self.log_y else _steps(max(ys))
        inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

        def at_x(x: float) -> float:
            return LEFT + inner_w * _share(x, across[0], across[-1], log=True)

        def at_y(y: float) -> float:
            return TOP + inner_h * (1 - _share(y, up[0], up[-1], log=self.log_y))

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {_FONT}>',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            _text(LEFT, 22, self.title, size=15, weight="600"),
            _text(LEFT, 40, self.caption, fill="#666"),
        ]
        for y in up:
            parts.append(_line(LEFT, at_y(y), WIDTH - RIGHT, at_y(y)))
            parts.append(_text(LEFT - 8, at_y(y) + 4, _number(y), anchor="end"))
        for x in across:
            parts.append(_line(at_x(x), TOP, at_x(x), HEIGHT - BOTTOM))
            parts.append(_text(at_x(x), HEIGHT - BOTTOM + 18, _number(x), anchor="middle"))
        parts.append(_text(LEFT + inner_w / 2, HEIGHT - 14, self.x, anchor="middle"))
        middle = TOP + inner_h / 2
        parts.append(_text(18, middle, self.y, anchor="middle", turn=f"rotate(-90 18 {middle:.0f})"))
        key = float(LEFT)
        for number, one in enumerate(self.series):
            colour = COLOURS[number % len(COLOURS)]
            places = [(at_x(x), at_y(y)) for x, y in one.points]
            way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_MARK}" fill="{colour}"/>' for x, y in places]
            parts.append(f'<rect x="{key:.0f}" y="{KEYS - 9}" width="16" height="10" fill="{colour}"/>')
            parts.append(_text(key + 22, KEYS, one.name))
            key += 44 + LETTER * len(one.name)
        return "\n".join([*parts, "</svg>", ""])


def _share(value: float, low: float, high: float, *, log: bool) -> float:
    if log:
        value, low, high = math.log10(value), math.log10(low), math.log10(high)
    return (value - low) / (high - low)


def _decades(values: Sequence[float]) -> list[float]:
    """Powers of ten around all values; two at least."""
    low = math.floor(math.log10(min(values)) + 1e-9)
    high = max(math.ceil(math.log10(max(values)) - 1e-9), low + 1)
    return [10.0**power for power in range(low, high + 1)]


def _steps(highest: float) -> list[float]:
    """Four to ten round steps from zero to above the highest."""
    rough = highest / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 5, 10) if size * times >= rough)
    return [step * number for number in range(math.ceil(highest / step) + 1)]


def _number(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _line(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="#ddd"/>'


def _text(
    x: float,
    y: float,
    said: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "400",
    fill: str = "#222",
    turn: str = "",
) -> str:
    more = f' transform="{turn}"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}"{more}>{escape(said)}</text>'
    )
